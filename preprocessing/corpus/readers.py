"""Recordings and texts of corpora in other layouts than LJSpeech's, wherever they are on disk."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from omegaconf import DictConfig

from audio.constants import SAMPLE_RATE
from audio.wav import NOT_FINITE, cut_short, write_wav
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import NOT_UTF8, read_utf8
from pipeline.settings import chosen


class Recording(NamedTuple):
    """One recording as it was published."""

    id: str
    path: Path
    """of a file that libsndfile reads: wav, flac, ogg, mp3"""
    text: str


def read_table(source: DictConfig) -> list[Recording]:
    """Recordings that a CSV table with a heading lists; a recording's id is its file's name.

    Args:
        source: `table`, its `delimiter`, the names of its columns `path` and `text`, and `folder`,
            in which relative paths are. With `quoting: none` quotation marks are part of a text;
            without it they may stand around a field, as spreadsheets write them.

    Raises:
        RecipeError: there is no table, it is not UTF-8, or it lacks these columns.
        FaultsError: rows of too many or too few fields or of several lines, without a file or a
            text, or two files of one name.
    """
    table = Path(source.table)
    if not table.exists():
        raise RecipeError(f"corpus.source.table={table} is not there: name a CSV table")
    rows = _rows(table, source)
    folder = Path(source.folder)
    found = [(folder / row[source.path], row[source.text]) for row in rows]
    return _checked(table, [Recording(path.stem, path, text.strip()) for path, text in found])


def _rows(table: Path, source: DictConfig) -> list[dict[str, str]]:
    """Rows of a table, by its heading, none of which has swallowed another or lost a field."""
    quotings = {"minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}
    quoting = chosen("corpus.source.quoting", source.get("quoting", "minimal"), quotings)
    contents = io.StringIO(read_utf8(table), newline="")
    options = {"delimiter": source.delimiter, "quoting": quoting, "strict": True}
    reader = csv.DictReader(contents, **options)
    heading, rows, faults, before = [], [], [], 1
    try:
        heading = reader.fieldnames or []
        for row in reader:
            line = f"line {reader.line_num}"
            if None in row:
                faults.append((line, "has more fields than the first line"))
            elif None in row.values():
                faults.append((line, "has fewer fields than the first line"))
            elif any("\n" in field or "\r" in field for field in row.values()):
                faults.append((line, f"ends a row of several lines, from line {before + 1} on"))
            rows.append(row)
            before = reader.line_num
    except csv.Error as error:
        faults.append((f"line {reader.line_num + 1}", f"cannot be read as CSV: {error}"))
    columns = [source.path, source.text]
    if missing := [name for name in columns if not (rows or faults) or name not in heading]:
        raise RecipeError(
            f"{table} has no row with {' and '.join(missing)}: its first line has to name its "
            "columns; say which with corpus.source.path and corpus.source.text, and what is "
            "between them with corpus.source.delimiter"
        )
    if faults:
        raise FaultsError(
            f"reading {table}",
            faults,
            'Put "" around a field that holds the delimiter, and write " as "" in such a field; or '
            "set quoting: none in the corpus's source, where quotation marks are part of texts.",
        )
    return rows


def read_folders(source: DictConfig) -> list[Recording]:
    """Recordings in folders, each with its text in a file of its own, as in VCTK and LibriTTS.

    Args:
        source: `folder`, and in it the patterns `recordings` and `texts`, in which `{id}` stands
            for what names an utterance and `*` for any name: `*/*/{id}.normalized.txt`.

    Raises:
        RecipeError: a pattern has no `{id}`, or finds nothing.
        FaultsError: recordings without a text, texts without a recording or not in UTF-8, or ids
            that are twice.
    """
    folder = Path(source.folder)
    recordings = _matching(folder, "recordings", source.recordings)
    texts, faults = {}, []
    for id, path in _matching(folder, "texts", source.texts):
        if texts.setdefault(id, path) != path:
            faults.append((id, f"has two texts, {texts[id]} and {path}"))
    unspoken = texts.keys() - {id for id, _ in recordings}
    faults += [(str(texts[id]), "has no recording") for id in unspoken]
    found = []
    for id, path in recordings:
        try:
            text = texts[id].read_text("utf-8-sig").strip() if id in texts else ""
            found.append(Recording(id, path, text))
        except UnicodeDecodeError:
            faults.append((str(texts[id]), NOT_UTF8))
    return _checked(folder, found, faults)


LAYOUTS = {"table": read_table, "folders": read_folders}


def _matching(folder: Path, name: str, pattern: str) -> list[tuple[str, Path]]:
    before, placeholder, after = pattern.rpartition("/")[2].partition("{id}")
    if not placeholder:
        raise RecipeError(f"corpus.source.{name}={pattern} has no {{id}} in its last part")
    paths = sorted(folder.glob(pattern.replace("{id}", "*")))
    if not paths:
        raise RecipeError(f"corpus.source.{name}={pattern} finds no file in {folder}")
    return [(path.name[len(before) : len(path.name) - len(after)], path) for path in paths]


def _checked(
    where: Path, recordings: list[Recording], faults: list[tuple[str, str]] | None = None
) -> list[Recording]:
    faults = sorted(faults or [])
    counts = Counter(recording.id for recording in recordings)
    faults += [(id, f"names {count} recordings") for id, count in counts.items() if count > 1]
    for recording in recordings:
        if not recording.path.is_file():
            faults.append((str(recording.path), "is not there"))
        if not recording.text:
            faults.append((str(recording.path), "has no text"))
        if "|" in recording.id:
            faults.append((str(recording.path), "has a | in its name"))
    if faults:
        raise FaultsError(f"reading {where}", faults, "Mend these, or leave them out.")
    return recordings


def seconds(path: Path) -> float:
    """Of a recording, by its header.

    Raises:
        RecipeError: it cannot be read as audio, is empty, or is cut short.
    """
    import soundfile

    try:
        info = soundfile.info(path, verbose=True)
        if info.frames == 0:
            raise RecipeError("holds no samples")
        if reason := cut_short(info):
            raise RecipeError(reason)
        return info.duration
    except soundfile.LibsndfileError as error:
        raise RecipeError(f"cannot be read as audio ({error.error_string.strip()})") from error


def convert(source: Path, path: Path) -> None:
    """Write a recording as 16 bit mono at 22,050 Hz, its channels averaged.

    Raises:
        RecipeError: it is damaged; says how, of the recording.
    """
    import soundfile
    import soxr

    try:
        waveform, rate = soundfile.read(source, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise RecipeError(f"is damaged ({error.error_string.strip()})") from error
    if not np.isfinite(waveform).all():
        raise RecipeError(NOT_FINITE)
    waveform = soxr.resample(waveform.mean(1), rate, SAMPLE_RATE)
    write_wav(path, waveform)
