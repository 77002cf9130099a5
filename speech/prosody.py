"""Files of phones with their durations, F0 and energy, to be edited and spoken again.

A JSON file holds a list of sentences, each a list of phones such as
`{"phone": "AH0", "duration": 0.058, "f0": 212.4, "energy": 31.7}`. A CSV file has the columns
`sentence`, `phone`, `duration`, `f0` and `energy`, and sentences are numbered from 1.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from pathlib import Path

from pipeline.errors import FaultsError, RecipeError
from pipeline.files import write_csv, write_json

COLUMNS = ["sentence", "phone", "duration", "f0", "energy"]
"""of a CSV file"""


@dataclass(frozen=True)
class SpokenPhone:
    """A phone and how it is spoken."""

    phone: str
    duration: float
    """seconds; it is rounded to whole frames of 11.6 ms, and may be 0"""
    f0: float
    """Hz, averaged over the phone as training does it: interpolated where it is voiceless"""
    energy: float
    """in the units of the feature store"""


Sentences = Sequence[Sequence[SpokenPhone]]


def write_prosody(path: Path, sentences: Sentences) -> None:
    """Write a JSON or CSV file, as its name ends."""
    rows = [[asdict(phone) for phone in sentence] for sentence in sentences]
    if path.suffix == ".json":
        write_json(path, rows)
        return
    numbered = [{"sentence": i, **row} for i, one in enumerate(rows, 1) for row in one]
    write_csv(path, COLUMNS, numbered)


def read_prosody(path: Path) -> list[list[SpokenPhone]]:
    """Read a JSON or CSV file.

    Raises:
        RecipeError: the file is missing or cannot be read, or has no phone.
        FaultsError: names every phone with a value that cannot be spoken.
    """
    try:
        text = path.read_text("utf-8")
        rows = _csv_rows(text) if path.suffix == ".csv" else json.loads(text)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise RecipeError(f"say.prosody={path} cannot be read: {error}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(r, list) and r for r in rows):
        raise RecipeError(f"say.prosody={path} holds no list of sentences, each a list of phones")
    sentences: list[list[SpokenPhone]] = []
    faults: list[tuple[str, str]] = []
    for i, row in enumerate(rows, 1):
        sentences.append([])
        for j, entry in enumerate(row, 1):
            if fault := _fault(entry):
                faults.append((f"sentence {i}, phone {j}", fault))
            else:
                values = {name: float(entry[name]) for name in COLUMNS[2:]}
                sentences[-1].append(SpokenPhone(entry["phone"], **values))
    if faults:
        raise FaultsError(f"reading say.prosody={path}", faults, "Correct these phones.")
    return sentences


def _csv_rows(text: str) -> list[list[dict]]:
    """Rows of a CSV text by sentence, with numbers where they are numbers."""
    sentences: dict[str, list[dict]] = {}
    for row in csv.DictReader(text.splitlines()):
        entry = {name: _number(row.get(name)) for name in COLUMNS[2:]} | {"phone": row.get("phone")}
        sentences.setdefault(row.get("sentence") or "1", []).append(entry)
    return list(sentences.values())


def _number(text: str | None) -> float | str | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def _fault(entry: object) -> str:
    """What is wrong with a phone; empty if nothing is."""
    if not isinstance(entry, dict) or not isinstance(entry.get("phone"), str):
        return "has no name in `phone`"
    for name, least in (("duration", 0.0), ("f0", 0.0), ("energy", -math.inf)):
        value = entry.get(name)
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            return f"has the {name} {value}, which is no number"
        if value < least or (name == "f0" and value == 0):
            return f"has the {name} {value:g}, which is too low"
    return ""
