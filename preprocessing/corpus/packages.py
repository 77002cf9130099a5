"""Corpora that Debian carries as packages: fetched by apt-get without root, or as an archive."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from pipeline.digests import sha256
from pipeline.download import fetch, read_archive
from pipeline.errors import RecipeError
from preprocessing.settings import AsteriskSource, FestvoxSource, PackageSettings

Contents = TypeVar("Contents")


def obtain(
    source: AsteriskSource | FestvoxSource, downloads: Path, read: Callable[[Path], Contents]
) -> Contents:
    """Unpack a corpus's packages, unless they are there, and return what is read from them.

    Args:
        source: `packages`, each with its name, version and SHA-256; and an `archive` of the same
            files for machines without apt-get, or null.
        downloads: the folder for the packages and, in `unpacked/`, their files.
        read: reads and verifies the folder of unpacked files. Raises RecipeError, OSError or
            EOFError if files are missing or altered.

    Raises:
        RecipeError: neither way succeeds, or the files are not the expected ones.
    """
    unpacked = downloads / "unpacked"
    downloads.mkdir(parents=True, exist_ok=True)
    # Processes may share the folder: none unpacks again while another reads.
    with FileLock(downloads / ".lock"):
        try:
            return read(unpacked)
        except (RecipeError, OSError, EOFError):  # The files are missing, incomplete or altered.
            _download(source, downloads, unpacked)
            return read(unpacked)


def _download(source: AsteriskSource | FestvoxSource, downloads: Path, unpacked: Path) -> None:
    failures = []
    try:
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise RecipeError("apt-get and dpkg are not on this machine")
        paths = [_package(package, downloads) for package in source.packages]
        shutil.rmtree(unpacked, ignore_errors=True)
        for path in paths:
            _unpack_package(path, unpacked)
        return
    except RecipeError as error:
        failures.append(str(error))
    try:
        if not source.archive:
            raise RecipeError("there is no other source of this corpus")
        archive = downloads / Path(source.archive.url).name
        fetch([source.archive.url], archive, source.archive.sha256)
        shutil.rmtree(unpacked, ignore_errors=True)
        _unpack_archive(archive, unpacked)
    except RecipeError as error:
        raise RecipeError(
            "cannot get the corpus:\n  "
            + "\n  ".join([*failures, str(error)])
            + f"\nDownload {' and '.join(_deb_name(p) for p in source.packages)} from a Debian "
            f"mirror into {downloads} and run again"
        ) from error


def _deb_name(package: PackageSettings) -> str:
    return f"{package.name}_{package.version}_all.deb"


def _package(package: PackageSettings, downloads: Path) -> Path:
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
