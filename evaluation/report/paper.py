"""A paper's values for its systems, from a file that the user may write."""

from pathlib import Path

from omegaconf import OmegaConf

from pipeline.errors import RecipeError

Values = dict[str, dict[str, str]]


def read_paper(path: Path) -> Values:
    """Read {heading of a column: {label of a system: value as text}}; empty without a file.

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
    """Raise a RecipeError unless all headings and labels of the paper are in the tables."""
    unknown = [heading for heading in values if heading not in headings]
    unknown += [f"{h}: {label}" for h in values for label in values[h] if label not in labels]
    if unknown:
        raise RecipeError(f"{path}: no column or system is called {', '.join(unknown)}")
