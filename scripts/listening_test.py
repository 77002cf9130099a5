"""Write a listening test of some runs: `make listening-test RUNS="..." ITEMS=20 SEED=0`."""

from pathlib import Path

from evaluation.report.collect import current_runs
from pipeline.entry_point import stage_script


def make_test(config) -> None:
    """Write `paths.listening`."""
    from evaluation.listening.build import build_test, choose_runs

    settings, folder = config.listening, Path(config.paths.listening)
    runs = choose_runs(current_runs(config), str(settings.runs).split())
    test = build_test(
        runs,
        settings.sentences,
        settings.seed,
        settings.address,
        folder,
        settings.participant,
    )
    for run in runs:
        print(f"{run.label} ({run.folder.name})")
    print(f"listening test {test}: serve {folder / 'test'} with any web server or `make serve`")


main = stage_script(make_test)

if __name__ == "__main__":
    main()
