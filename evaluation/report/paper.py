"""What a paper says of its systems, from a file that the user writes; without one, nothing."""

from pathlib import Path

from omegaconf import OmegaConf

from pipeline.errors import RecipeError

Values = dict[str, dict[str, str]]


def read_paper(path: Path) -> Values:
    """{heading of a column: {label of a system: value as it is to be shown}}.

    The file has the same form, for instance `WER held-out, %: {Dense: 5.1}`.

    Raises:
        RecipeError: the file has another form.
    """
    if not path.exists():
        return {}
    found = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise RecipeError(f"{path}: write `<heading of a column>: {{<system>: <value>}}` lines")
    return {
        heading: {label: str(value) for label, value in systems.items()}
        for heading, systems in found.items()
    }


def require_known(values: Values, headings: set[str], labels: set[str], path: Path) -> None:
    """Raise RecipeError unless every heading and label of the paper's is in the tables."""
    unknown = [heading for heading in values if heading not in headings]
    unknown += [f"{h}: {label}" for h in values for label in values[h] if label not in labels]
    if unknown:
        raise RecipeError(f"{path}: no column or system is called {', '.join(unknown)}")
