"""Digests of files and of settings."""

import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.settings import Section


def fingerprint(*parts: Any) -> str:
    """Hex digest of sections of settings, plain values and other fingerprints, in order."""
    plain = [part.plain() if isinstance(part, Section) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def sha256(path: Path | str) -> str:
    """Hex digest of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(paths: Iterable[Path], base: Path) -> list[list[str]]:
    """Sorted pairs of name and digest of those files that exist.

    A name is relative to `base` where the file is below it, so that a folder can be moved.
    """
    pairs = []
    for path in sorted(path for path in paths if path.is_file()):
        stat = path.stat()
        name = str(path.relative_to(base)) if path.is_relative_to(base) else path.name
        pairs.append([name, _cached_sha256(path, stat.st_size, stat.st_mtime_ns)])
    return pairs


@cache
def _cached_sha256(path: Path, size: int, modified: int) -> str:
    """The digest of a file at this size and time. A sweep asks for it once for each of its runs."""
    return sha256(path)
