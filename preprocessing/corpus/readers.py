"""Readers of corpora in other layouts than LJSpeech's: a table, or a text file per recording."""

import csv
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import FaultsError, RecipeError
from pipeline.files import NOT_UTF8, read_utf8
from preprocessing.corpus.recordings import ADVICE, Reasons, Recording
from preprocessing.settings import FolderSource, TableSource


def read_table(source: TableSource) -> list[Recording]:
    """Read the recordings that a CSV table with a header line lists.

    The id of a recording is the name of its file without the suffix.

    Args:
        source: `table`; its `delimiter`; `path` and `text`, the names of two columns; and `folder`,
            which relative paths start from. With `quoting: none`, quotation marks are part of the
            text; otherwise they may enclose a field, as spreadsheets write them.

    Raises:
        RecipeError: the table does not exist, is not UTF-8, or lacks one of the columns.
        FaultsError: lists rows with too many or too few fields, rows over several lines, rows
            without a text or whose file does not exist, and files of the same name.
    """
    table = Path(source.table)
    if not table.exists():
        raise RecipeError(f"corpus.source.table={table} does not exist: name a CSV table")
    rows = _rows(table, source)
    folder = Path(source.folder)
    found = [(folder / row[source.path], row[source.text]) for row in rows]
    return _checked(table, [Recording(path.stem, path, text.strip()) for path, text in found])


def _rows(table: Path, source: TableSource) -> list[dict[str, str]]:
    """Read the rows of a table; refuse rows that have run into each other or lost a field."""
    quoting = {"minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}[source.quoting]
    contents = io.StringIO(read_utf8(table), newline="")
    options = {"delimiter": source.delimiter, "quoting": quoting, "strict": True}
    reader = csv.DictReader(contents, **options)
    header, rows, faults, previous = [], [], [], 1
    try:
        header = reader.fieldnames or []
        for row in reader:
            line = f"line {reader.line_num}"
            if None in row:
                faults.append((line, "has more fields than the first line"))
            elif None in row.values():
                faults.append((line, "has fewer fields than the first line"))
            elif any("\n" in field or "\r" in field for field in row.values()):
                faults.append((line, f"ends a row that began in line {previous + 1}"))
            rows.append(row)
            previous = reader.line_num
    except csv.Error as error:
        faults.append((f"line {reader.line_num + 1}", f"cannot be read as CSV: {error}"))
    columns = [source.path, source.text]
    if twice := [name for name in columns if list(header).count(name) > 1]:
        raise RecipeError(f"{table} has several columns named {twice[0]}: rename all but one")
    if missing := [name for name in columns if not (rows or faults) or name not in header]:
        raise RecipeError(
            f"{table} has no row with {' and '.join(missing)}: its first line has to name the "
            "columns. Set corpus.source.path and corpus.source.text to two of these names, and "
            "corpus.source.delimiter to the character between them"
        )
    if faults:
        raise FaultsError(
            f"reading {table}",
            faults,
            "Enclose a field that contains the delimiter in quotation marks, and double the "
            "quotation marks inside it. If quotation marks are part of the texts, set "
            "quoting: none in the corpus's source.",
        )
    return rows


def read_folders(source: FolderSource) -> list[Recording]:
    """Read recordings that each have their text in a file of its own, as in VCTK and LibriTTS.

    Args:
        source: `folder`, and the patterns `recordings` and `texts` of paths in it. In a pattern,
            `{id}` is the part that names the utterance, and `*` is any name:
            `*/*/{id}.normalized.txt`.

    Raises:
        RecipeError: a pattern has no `{id}`, or matches no file.
        FaultsError: lists recordings without a text, texts without a recording, texts that are not
            UTF-8, and repeated ids.
    """
    folder = Path(source.folder)
    recordings = _matching(folder, "recordings", source.recordings)
    texts, faults = {}, []
    for id, path in _matching(folder, "texts", source.texts):
        if texts.setdefault(id, path) != path:
            faults.append((id, f"has two texts, {texts[id]} and {path}"))
    without_recording = texts.keys() - {id for id, _ in recordings}
    faults += [(str(texts[id]), "has no recording") for id in without_recording]
    found = []
    for id, path in recordings:
        try:
            text = texts[id].read_text("utf-8-sig").strip() if id in texts else ""
            found.append(Recording(id, path, text))
        except UnicodeDecodeError:
            faults.append((str(texts[id]), NOT_UTF8))
    return _checked(folder, found, faults)


LAYOUTS: dict[str, Callable] = {"table": read_table, "folders": read_folders}


def _matching(folder: Path, name: str, pattern: str) -> list[tuple[str, Path]]:
    """Return the id and path of each file that matches a pattern, in order of path."""
    prefix, placeholder, suffix = pattern.rpartition("/")[2].partition("{id}")
    if not placeholder:
        raise RecipeError(f"corpus.source.{name}={pattern} has no {{id}} in its last part")
    paths = sorted(folder.glob(pattern.replace("{id}", "*")))
    if not paths:
        raise RecipeError(f"corpus.source.{name}={pattern} matches no file in {folder}")
    return [(path.name[len(prefix) : len(path.name) - len(suffix)], path) for path in paths]


def _checked(
    where: Path, recordings: list[Recording], faults: Reasons | None = None
) -> list[Recording]:
    """Return the recordings if each has a file, a text, and an id of its own.

    Args:
        where: the table or folder that the recordings come from.
        recordings: the recordings to check.
        faults: faults that the caller has already found.
    """
    faults = sorted(faults or [])
    counts = Counter(recording.id for recording in recordings)
    faults += [(id, f"names {count} recordings") for id, count in counts.items() if count > 1]
    for recording in recordings:
        if not recording.path.is_file():
            faults.append((str(recording.path), "does not exist"))
        if not recording.text:
            faults.append((str(recording.path), "has no text"))
        if "|" in recording.id:
            faults.append((str(recording.path), "has the character | in its name"))
    if faults:
        raise FaultsError(f"reading {where}", faults, ADVICE)
    return recordings
