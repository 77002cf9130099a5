"""Analyse the answers of listeners: `make preferences RESULTS=<file or folder>`."""

from pathlib import Path

from pipeline.entry_point import stage_script
from pipeline.errors import RecipeError
from pipeline.files import write_json


def show_preferences(config) -> None:
    """Print the analysis and write it to `paths.listening`/preferences.json for stage 7."""
    from evaluation.listening.analysis import analyse
    from evaluation.listening.answers import read_answers, read_key
    from evaluation.listening.tables import listening_tables
    from evaluation.report.formats import markdown

    folder = Path(config.paths.listening)
    key = read_key(folder)
    source = Path(config.listening.results or folder / "answers.jsonl")
    accepted, refused = read_answers(source, key)
    for where, reason in refused:
        print(f"refused {where}: {reason}")
    if not accepted:
        raise RecipeError(f"{source} holds no valid answers")
    found = analyse(accepted, len(refused), key).as_json()
    write_json(folder / "preferences.json", found)
    for title, rows, note in listening_tables(found):
        print(f"\n{title}\n\n{markdown(rows)}\n{note}")


main = stage_script(show_preferences)

if __name__ == "__main__":
    main()
