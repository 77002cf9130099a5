"""Reading and writing files: atomic writes, JSON, CSV, UTF-8 text and arrays."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import RecipeError
from pipeline.locks import is_alive


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to `path` only if the block succeeds."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, since writers such as soundfile choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Delete the temporary files of `atomic_path` whose processes were killed."""
    for path in folder.rglob(".*.partial*"):
        writer = int(path.name.rpartition(".partial")[0].rpartition(".")[2])
        if not is_alive(writer):
            path.unlink(missing_ok=True)


def write_json(path: Path | str, value: Mapping | list) -> None:
    """Write indented JSON atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path | str) -> Any:
    return json.loads(Path(path).read_text("utf-8"))


NOT_UTF8 = "is not UTF-8: convert it, for example with `iconv -f latin1 -t utf-8`"


def read_utf8(path: Path | str) -> str:
    """Read a user's text file, without the byte order mark that some editors write.

    Raises:
        RecipeError: the file has another encoding; names it and the line.
    """
    try:
        return Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"line {line} of {path} {NOT_UTF8}") from error


def write_array(path: Path | str, values: Any) -> None:
    """Write an array as `.npy` atomically.

    Raises:
        OSError: the file cannot be written, for example because the disk is full. NumPy's own
            function would not report that.
    """
    import numpy as np

    contents = io.BytesIO()
    np.save(contents, values)
    with atomic_path(path) as temporary:
        temporary.write_bytes(contents.getbuffer())


def write_csv(path: Path | str, columns: Sequence[str], rows: Iterable[Mapping]) -> None:
    """Write rows atomically under a row of column names."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
