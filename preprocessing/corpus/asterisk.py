"""The Allison corpus: prompts of the Asterisk telephone exchange, G.722 at 16 kHz."""

import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock
from omegaconf import DictConfig

from pipeline.digests import sha256
from pipeline.download import fetch, read_archive
from pipeline.errors import RecipeError

SOURCE_RATE = 16000
"""Hz"""
_ANNOTATION = re.compile(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)")


def obtain(source: DictConfig, downloads: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Published texts and G.722 files by prompt, from Debian's packages or upstream's archive.

    Raises:
        RecipeError: neither can be had, or their contents are not the known ones.
    """
    unpacked = downloads / "unpacked"
    downloads.mkdir(parents=True, exist_ok=True)
    # Processes may share downloads: what one of them reads, no other unpacks again meanwhile.
    with FileLock(downloads / ".lock"):
        try:
            return _contents(unpacked, source.contents_sha256)
        except (RecipeError, OSError, EOFError):  # not there, not whole, or not the known ones
            _download(source, downloads, unpacked)
            return _contents(unpacked, source.contents_sha256)


def _download(source: DictConfig, downloads: Path, unpacked: Path) -> None:
    failures = []
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        failures.append("apt-get and dpkg are not on this machine")
    else:
        try:
            packages = [_package(package, downloads) for package in source.packages]
            shutil.rmtree(unpacked, ignore_errors=True)  # what is there is not whole
            for package in packages:
                _unpack_package(package, unpacked)
        except RecipeError as error:
            failures.append(str(error))
    if failures:
        try:
            archive = downloads / Path(source.archive.url).name
            fetch([source.archive.url], archive, source.archive.sha256)
            shutil.rmtree(unpacked, ignore_errors=True)
            _unpack_archive(archive, unpacked)
        except RecipeError as error:
            raise RecipeError(
                "the Allison corpus could not be had:\n  "
                + "\n  ".join([*failures, str(error)])
                + f"\nPut {' and '.join(_deb_name(p) for p in source.packages)} from a Debian "
                f"mirror into {downloads} and run again"
            ) from error


def _deb_name(package: DictConfig) -> str:
    return f"{package.name}_{package.version}_all.deb"


def _package(package: DictConfig, downloads: Path) -> Path:
    """A Debian package's file, fetched without root unless it is there."""
    path = downloads / _deb_name(package)
    if not path.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        download = ["download", f"{package.name}={package.version}"]
        # Where the machine's own package lists are empty or old, private ones serve without root.
        lists, cache = (downloads.absolute() / "apt" / name for name in ("lists", "cache"))
        for folder in (lists, cache):
            (folder / "partial").mkdir(parents=True, exist_ok=True)
        private = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
        private += ["-o", "APT::Sandbox::User=root"]
        failure = _apt(download, downloads) and (
            _apt([*private, "update"], downloads) or _apt([*private, *download], downloads)
        )
        if failure:
            raise RecipeError(f"apt-get could not download {package.name}: {failure}")
    if (found := sha256(path)) != package.sha256:
        path.unlink()
        raise RecipeError(
            f"{path} had the SHA-256 {found} where {package.sha256} was expected, and was deleted"
        )
    return path


def _apt(arguments: list[str], folder: Path) -> str | None:
    """Run apt-get in a folder; what it complained of, or None."""
    print(f"apt-get {arguments[-1]}", flush=True)
    done = subprocess.run(["apt-get", *arguments], cwd=folder, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def _unpack_package(deb: Path, folder: Path) -> None:
    done = subprocess.run(["dpkg", "-x", deb, folder], capture_output=True, text=True)
    if done.returncode:
        raise RecipeError(f"{deb} cannot be unpacked: {done.stderr.strip()}")


def _unpack_archive(archive: Path, folder: Path) -> None:
    for name, contents in read_archive(archive, lambda path: path.suffix in {".g722", ".txt"}):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)


def _contents(unpacked: Path, expected_sha256: str) -> tuple[dict[str, str], dict[str, Path]]:
    """Texts and recordings under a folder, checked by one digest of their bytes in order of name.

    The digest makes the recordings known whichever way they came.
    """
    texts = [path for path in unpacked.rglob("core-sounds-en.txt*") if path.is_file()]
    paths = list(unpacked.rglob("*.g722"))
    if len(texts) != 1 or not paths:
        raise RecipeError(f"{unpacked} has no recordings or no text: delete it and run again")
    root = min((path.parent for path in paths), key=lambda folder: len(folder.parts))
    # A prompt keeps the name of its folder, where it has one: `digits/9` is `digits-9`.
    recordings = {"-".join(path.relative_to(root).with_suffix("").parts): path for path in paths}
    opened = gzip.open if texts[0].suffix == ".gz" else open
    with opened(texts[0], "rb") as file:
        text = file.read()
    digest = hashlib.sha256(text)
    for prompt, path in sorted(recordings.items()):
        digest.update(prompt.encode() + path.read_bytes())
    if digest.hexdigest() != expected_sha256:
        raise RecipeError(
            f"the recordings in {unpacked} are not the known ones (SHA-256 {digest.hexdigest()} "
            f"where {expected_sha256} was expected): delete {unpacked.parent} and run again"
        )
    return _read_texts(text.decode()), recordings


def _read_texts(listing: str) -> dict[str, str]:
    """Text by prompt from lines `name: text`; lines that begin with a semicolon are comments."""
    pairs = (line.split(":", 1) for line in listing.splitlines() if ":" in line[1:])
    return {name.replace("/", "-"): text.strip() for name, text in pairs if name[0] != ";"}


def without_annotations(text: str) -> str:
    """A text without descriptions of sounds: `[beep]`, `<beep>` and `(simple tone sound plays)`."""
    return " ".join(_ANNOTATION.sub(" ", text).split())


def decode(path: Path) -> np.ndarray:
    """A G.722 file's samples at 16 kHz, float32 in [-1, 1], `[samples]`."""
    import av

    with av.open(str(path), format="g722") as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(blocks).astype(np.float32) / 32768


def prompts(
    texts: Mapping[str, str], recordings: Mapping[str, Path]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Texts of the prompts that are speech, and those that are not, each with the reason."""
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
