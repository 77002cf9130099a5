"""Allison Smith's prompts for the Asterisk telephone exchange: G.722 at 16 kHz."""

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
BYTES_PER_SECOND = 8000
"""G.722 stores two samples in a byte."""
_ANNOTATION = re.compile(r"\[[^\]]*\]|<[^>]*>|\([^)]*\)")


def obtain(source: DictConfig, downloads: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """Return the published texts and the G.722 files by prompt.

    They come from Debian's packages, or else from the archive of the Asterisk project.

    Raises:
        RecipeError: both ways fail, or the files are not the expected ones.
    """
    unpacked = downloads / "unpacked"
    downloads.mkdir(parents=True, exist_ok=True)
    # Processes may share the folder: none unpacks again while another reads.
    with FileLock(downloads / ".lock"):
        try:
            return _contents(unpacked, source.contents_sha256)
        except (RecipeError, OSError, EOFError):  # The files are missing, incomplete or altered.
            _download(source, downloads, unpacked)
            return _contents(unpacked, source.contents_sha256)


def _download(source: DictConfig, downloads: Path, unpacked: Path) -> None:
    failures = []
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        failures.append("apt-get and dpkg are not on this machine")
    else:
        try:
            packages = [_package(package, downloads) for package in source.packages]
            shutil.rmtree(unpacked, ignore_errors=True)
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
                "cannot get the Allison corpus:\n  "
                + "\n  ".join([*failures, str(error)])
                + f"\nDownload {' and '.join(_deb_name(p) for p in source.packages)} from a Debian "
                f"mirror into {downloads} and run again"
            ) from error


def _deb_name(package: DictConfig) -> str:
    return f"{package.name}_{package.version}_all.deb"


def _package(package: DictConfig, downloads: Path) -> Path:
    """Return the path of a Debian package, downloaded if it is not there. Root is not needed."""
    path = downloads / _deb_name(package)
    if not path.exists():
        downloads.mkdir(parents=True, exist_ok=True)
        download = ["download", f"{package.name}={package.version}"]
        # If the machine's package lists are empty or old, use private ones, which need no root.
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
            f"{path} had the SHA-256 {found} instead of {package.sha256} and was deleted"
        )
    return path


def _apt(arguments: list[str], folder: Path) -> str | None:
    """Run apt-get in a folder; return its error message, or None if it succeeded."""
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
