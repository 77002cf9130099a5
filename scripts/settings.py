"""Print a table of all settings with type, default and meaning: `make settings`."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from evaluation.settings import Settings
from pipeline.configuration import RESOURCES
from pipeline.settings import allowed_values

CONF = RESOURCES / "conf"
OTHERS = ("recipe", "preset", "sweep", "launcher")
"""Groups whose files only override settings of other groups, or belong to Hydra."""
NOT_SETTINGS = ("defaults", "hydra.", "corrections.", "source.packages.")


def settings(path: Path) -> Iterator[tuple[str, object, str]]:
    """The dotted name in its group, the default and the meaning of each setting in a file.

    A meaning is the comment behind a setting, with the lines of comment that continue it; or the
    lines of comment above a setting that has none behind it.
    """
    text = path.read_text("utf-8")
    names: list[tuple[int, str]] = []
    found: dict[str, str] = {}
    last, column, above = "", 0, ""
    for line in text.splitlines():
        place, _, comment = line.partition("#")
        if match := re.match(r"( *)([\w-]+):", place):
            indent = len(match[1])
            names = [each for each in names if each[0] < indent] + [(indent, match[2])]
            last, column = ".".join(name for _, name in names), line.find("#")
            found[last] = comment.strip() or above
            above = ""
        elif not place.strip() and comment and column > 0 and len(place) >= column - 1:
            found[last] += f" {comment.strip()}"
        else:
            above = f"{above} {comment.strip()}".strip() if comment else ""
    values = yaml.safe_load(text) or {}
    for name, meaning in found.items():
        value = values
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, dict):
            yield name, value, meaning


def _chosen() -> set[Path]:
    """The files of the groups' options that config.yaml chooses."""
    return {
        CONF / group / f"{choice}.yaml"
        for each in _yaml(CONF / "config.yaml")["defaults"]
        if isinstance(each, dict)
        for group, choice in each.items()
    }


def _rank(path: Path, chosen: set[Path]) -> tuple[bool, bool, bool]:
    """Sort config.yaml first, then the chosen files, then files that build on no other.

    The first file with a setting then holds its default.
    """
    return path != CONF / "config.yaml", path not in chosen, "defaults" in _yaml(path)


def _yaml(path: Path) -> dict:
    return yaml.safe_load(path.read_text("utf-8")) or {}


def rows() -> Iterator[str]:
    """The lines of the table, group by group."""
    schema = TypeAdapter(Settings).json_schema()
    meanings: dict[str, str] = {}
    lines: dict[str, str] = {}
    files = [path for path in sorted(CONF.glob("**/*.yaml")) if path.parent.name not in OTHERS]
    chosen = _chosen()
    for path in sorted(files, key=lambda path: _rank(path, chosen)):
        group = path.parent.name if path.parent != CONF else path.stem
        prefix = "" if group == "config" else f"{group}."
        for name, value, meaning in settings(path):
            full = prefix + name
            if name.startswith(NOT_SETTINGS):
                continue
            meanings[full] = meanings.get(full) or meaning
            kind = allowed_values(full, schema)
            default = "null" if value is None else str(value).replace("|", "\\|")
            lines.setdefault(full, f"| `{full}` | {kind} | `{default}` | ")
    for full, line in lines.items():
        yield f"{line}{meanings[full].replace('|', chr(92) + '|')} |"


def table() -> str:
    """The whole table, which conf/SETTINGS.md holds."""
    head = "# All settings\n\nWritten by `make settings > conf/SETTINGS.md`.\n\n"
    head += "| setting | type | default | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(rows())


if __name__ == "__main__":
    print(table())
