"""The files that describe a corpus: `metadata.csv` (id|raw|normalised), and tables of reasons."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import FaultsError, UtteranceError
from pipeline.files import NOT_UTF8, atomic_path, read_csv, write_csv

_SUFFIX = re.compile(r"\.wav$", re.IGNORECASE)


@dataclass(frozen=True)
class Utterance:
    """One recording: its id, the text as published, and the text as it is spoken."""

    id: str
    raw: str
    text: str


def read_metadata(path: Path | str) -> list[Utterance]:
    """Read the utterances of a `metadata.csv`.

    Its lines are `id|raw|normalised` or `id|text`, in UTF-8. Quotation marks are part of the text.
    An id may be given as its recording's file name (`wavs/LJ001-0001.wav`). Blanks around fields
    and blank lines are ignored. Stage 1 normalises every text itself.

    Raises:
        FaultsError: lists lines of another form or encoding, empty texts and repeated ids.
    """
    utterances, faults = parse_metadata(path)
    if faults:
        raise FaultsError(
            f"reading {path}",
            [(name, str(fault)) for name, fault in faults],
            "Correct these lines to id|text|normalised text, or id|text.",
        )
    return utterances


def parse_metadata(
    path: Path | str,
) -> tuple[list[Utterance], list[tuple[str, UtteranceError]]]:
    """Parse a `metadata.csv` into utterances, one for each id, and faults as (id, fault)."""
    utterances, faults, seen = [], [], set()
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            fields = [field.strip() for field in line.decode("utf-8-sig").split("|")]
        except UnicodeDecodeError:
            faults.append((f"line {number}", UtteranceError("metadata_line", NOT_UTF8)))
            continue
        if fields == [""]:
            continue
        if len(fields) not in (2, 3):
            reason = f"has {len(fields)} fields instead of 3, or 2 without the normalised text"
            faults.append((f"line {number}", UtteranceError("metadata_line", reason)))
            continue
        id = _SUFFIX.sub("", fields[0].replace("\\", "/").rpartition("/")[2])
        utterance = Utterance(id, fields[1], fields[-1])
        if utterance.id in seen:
            reason = f"is repeated in line {number}"
            faults.append((utterance.id, UtteranceError("id_repeated", reason)))
            continue
        seen.add(utterance.id)
        utterances.append(utterance)
        if not utterance.text:
            reason = f"has an empty text (line {number})"
            faults.append((utterance.id, UtteranceError("text_missing", reason)))
    return utterances, faults


def write_metadata(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a `metadata.csv`. In texts, `|` and runs of white space become one blank."""
    with atomic_path(path) as temporary:
        lines = (f"{u.id}|{_one_field(u.raw)}|{_one_field(u.text)}\n" for u in utterances)
        temporary.write_text("".join(lines), "utf-8")


def _one_field(text: str) -> str:
    return " ".join(text.replace("|", " ").split())


def write_reasons(path: Path | str, rows: Iterable[tuple[str, str]]) -> None:
    """Write a CSV table `id,reason` of the utterances that were left out."""
    write_csv(path, ["id", "reason"], ({"id": id, "reason": reason} for id, reason in rows))


def write_replacements(path: Path | str, rows: Iterable[tuple[str, str, str, str, str]]) -> None:
    """Write a CSV table of what normalising changed: `id,written,spoken,rule,ambiguous`."""
    columns = ["id", "written", "spoken", "rule", "ambiguous"]
    write_csv(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))


def read_reasons(path: Path | str) -> list[tuple[str, str]]:
    """Read a table that `write_reasons` wrote."""
    return [(row["id"], row["reason"]) for row in read_csv(path)]
