"""Allison Smith's prompts for the Asterisk telephone exchange: G.722 at 16 kHz."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.errors import RecipeError
from preprocessing.corpus import packages
from preprocessing.settings import AsteriskSource

SOURCE_RATE = 16000
"""Hz"""
BYTES_PER_SECOND = 8000
"""G.722 stores two samples in a byte."""
_ANNOTATION = re.compile(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)")


def obtain(source: AsteriskSource, downloads: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Return the published texts and the G.722 files by prompt; see `packages.obtain`."""
    return packages.obtain(source, downloads, lambda it: _contents(it, source.contents_sha256))


def _contents(unpacked: Path, expected_sha256: str) -> tuple[dict[str, str], dict[str, Path]]:
    """Return the texts and recordings by prompt from the folder of unpacked files.

    One digest over all their bytes, in order of name, verifies them. It is the same for Debian's
    packages and for the archive.
    """
    texts = [path for path in unpacked.rglob("core-sounds-en.txt*") if path.is_file()]
    paths = list(unpacked.rglob("*.g722"))
    if len(texts) != 1 or not paths:
        raise RecipeError(f"{unpacked} lacks recordings or texts: delete it and run again")
    root = min((path.parent for path in paths), key=lambda folder: len(folder.parts))
    # A prompt in a subfolder carries the folder's name: `digits/9` becomes `digits-9`.
    recordings = {"-".join(path.relative_to(root).with_suffix("").parts): path for path in paths}
    opened = gzip.open if texts[0].suffix == ".gz" else open
    with opened(texts[0], "rb") as file:
        text = file.read()
    digest = hashlib.sha256(text)
    for prompt, path in sorted(recordings.items()):
        digest.update(prompt.encode() + path.read_bytes())
    if digest.hexdigest() != expected_sha256:
        raise RecipeError(
            f"the recordings in {unpacked} are not the expected ones (SHA-256 "
            f"{digest.hexdigest()} instead of {expected_sha256}): delete {unpacked.parent} and run "
            "again"
        )
    return _read_texts(text.decode()), recordings


def _read_texts(listing: str) -> dict[str, str]:
    """Parse lines `name: text` into texts by prompt; a semicolon begins a comment line."""
    pairs = (line.split(":", 1) for line in listing.splitlines() if ":" in line[1:])
    return {name.replace("/", "-"): text.strip() for name, text in pairs if name[0] != ";"}


def without_annotations(text: str) -> str:
    """Remove descriptions of sounds: `[beep]`, `<beep>` and `(simple tone sound plays)`."""
    return " ".join(_ANNOTATION.sub(" ", text).split())


def duration(path: Path) -> float:
    """Return the length of a G.722 file in seconds."""
    return path.stat().st_size / BYTES_PER_SECOND


def decode(path: Path) -> tuple[np.ndarray, int]:
    """Decode a G.722 file: float32 samples in [-1, 1], `[samples]`, and their rate of 16 kHz."""
    import av

    with av.open(str(path), format="g722") as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32) / 32768, SOURCE_RATE


def prompts(
    texts: Mapping[str, str], recordings: Mapping[str, Path]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the texts of the prompts that are speech, and the other prompts with the reason."""
    spoken, dropped = {}, []
    for prompt in sorted(texts.keys() | recordings.keys()):
        text = texts.get(prompt)
        if prompt not in recordings:
            dropped.append((prompt, "has a text but no recording"))
        elif text is None:
            dropped.append((prompt, "has a recording but no text"))
        elif not (words := without_annotations(text)):
            dropped.append((prompt, f"is not speech: its text is '{text}'"))
        else:
            spoken[prompt] = words
    return spoken, dropped
