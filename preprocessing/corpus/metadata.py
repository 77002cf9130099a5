"""A corpus on disk in LJSpeech's layout: `wavs/<id>.wav` and `metadata.csv` (id|raw|normalised)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import FaultsError, UtteranceError
from pipeline.files import NOT_UTF8, atomic_path, read_csv, write_csv


@dataclass(frozen=True)
class Utterance:
    """One recording: its id, the text as published, and the text as it is spoken."""

    id: str
    raw: str
    text: str


def read_metadata(path: Path | str) -> list[Utterance]:
    """Utterances of a `metadata.csv`: `id|raw|normalised`, UTF-8, in which quotes mean nothing.

    A line `id|text` is taken too: stage 1 normalises every text.

    Raises:
        FaultsError: lines of another shape or encoding, empty texts or repeated ids.
    """
    utterances, faults = parse_metadata(path)
    if faults:
        raise FaultsError(
            f"reading {path}",
            [(name, str(fault)) for name, fault in faults],
            "Mend these lines: id|text|normalised text, or id|text.",
        )
    return utterances


def parse_metadata(
    path: Path | str,
) -> tuple[list[Utterance], list[tuple[str, UtteranceError]]]:
    """Utterances of a `metadata.csv`, one for each id, and what is wrong with it: (id, fault)."""
    utterances, faults, seen = [], [], set()
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            fields = line.decode("utf-8-sig").split("|")
        except UnicodeDecodeError:
            faults.append((f"line {number}", UtteranceError("metadata_line", NOT_UTF8)))
            continue
        if len(fields) not in (2, 3):
            reason = f"has {len(fields)} fields where 3 are needed, or 2 without normalised text"
            faults.append((f"line {number}", UtteranceError("metadata_line", reason)))
            continue
        utterance = Utterance(fields[0], fields[1], fields[-1])
        if utterance.id in seen:
            reason = f"is there twice (line {number})"
            faults.append((utterance.id, UtteranceError("id_repeated", reason)))
            continue
        seen.add(utterance.id)
        utterances.append(utterance)
        if not utterance.text.strip():
            reason = f"has an empty text (line {number})"
            faults.append((utterance.id, UtteranceError("text_missing", reason)))
    return utterances, faults


def write_metadata(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a `metadata.csv` that is read back as it was, but for `|` and white space in texts."""
    with atomic_path(path) as temporary:
        lines = (f"{u.id}|{_one_field(u.raw)}|{_one_field(u.text)}\n" for u in utterances)
        temporary.write_text("".join(lines), "utf-8")


def _one_field(text: str) -> str:
    return " ".join(text.replace("|", " ").split())


def write_reasons(path: Path | str, rows: Iterable[tuple[str, str]]) -> None:
    """A CSV table of utterances that were left out, and why: `id,reason`."""
    write_csv(path, ["id", "reason"], ({"id": id, "reason": reason} for id, reason in rows))


def read_reasons(path: Path | str) -> list[tuple[str, str]]:
    return [(row["id"], row["reason"]) for row in read_csv(path)]
