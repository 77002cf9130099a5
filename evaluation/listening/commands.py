"""What `make listening-test`, `make serve` and `make preferences` do."""

import signal
from pathlib import Path

from evaluation.settings import Settings
from pipeline.errors import RecipeError
from pipeline.files import write_json


def write_test(config: Settings) -> None:
    """Write a listening test of the runs that `config.listening.runs` names into its folder.

    Raises:
        RecipeError: see `choose_runs` and `build_test`.
    """
    from evaluation.listening.answers import Question
    from evaluation.listening.build import build_test, choose_runs
    from evaluation.report.collect import current_runs

    settings, folder = config.listening, Path(config.paths.listening)
    finished = current_runs(config)
    runs = choose_runs(finished, settings.runs.split())
    natural = next((run for run in finished if run.metrics["system"] == "natural"), None)
    test = build_test(
        runs,
        settings.sentences,
        settings.seed,
        settings.address,
        folder,
        settings.participant,
        kinds=settings.kinds,
        reference=natural,
        consent=settings.consent,
        questionnaire=[Question(**each) for each in settings.questionnaire],
    )
    for run in runs:
        print(f"{run.label} ({run.folder.name})")
    print(f"listening test {test}: serve {folder / 'test'} with any web server or `make serve`")


def serve_test(config: Settings) -> None:
    """Serve the listening test and collect answers until the process is interrupted or ended."""
    from evaluation.listening.server import make_server
    from evaluation.listening.store import DATABASE

    folder, settings = Path(config.paths.listening), config.listening
    server, listener = make_server(folder, settings.host, settings.port, settings.completion)
    host, port = listener.getsockname()
    print(f"listening test at http://{host}:{port}/, answers in {folder / DATABASE}")
    print("Press Ctrl-C to stop.", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        print("stopped")


def show_preferences(config: Settings) -> None:
    """Print the analysis of the answers and write it to preferences.json, which stage 7 reads.

    Raises:
        RecipeError: there is no valid answer.
    """
    from evaluation.listening.analysis import analyse
    from evaluation.listening.answers import read_answers, read_key
    from evaluation.listening.store import DATABASE, EXPORT, AnswerStore
    from evaluation.listening.tables import listening_tables
    from evaluation.report.formats import markdown

    folder = Path(config.paths.listening)
    key = read_key(folder)
    source = Path(config.listening.results or folder / EXPORT)
    if not config.listening.results and (folder / DATABASE).exists():
        AnswerStore(folder, key).close()  # which writes what the server has collected
    accepted, refused = read_answers(source, key)
    for where, reason in refused:
        print(f"refused {where}: {reason}")
    if not accepted:
        raise RecipeError(f"{source} holds no valid answers")
    analysis = analyse(accepted, len(refused), key).as_json()
    write_json(folder / "preferences.json", analysis)
    for _, title, rows, note in listening_tables(analysis):
        print(f"\n{title}\n\n{markdown(rows)}\n{note}")
