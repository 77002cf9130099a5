"""Fetch a large archive over HTTP, going on where an earlier attempt stopped, and unpack it."""

import hashlib
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from preprocessing.disk import disk_space
from preprocessing.errors import RecipeError
from preprocessing.progress import progress

_BLOCK = 1 << 20
_SECONDS_WITHOUT_DATA = 60


def sha256(path: Path | str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url: str, path: Path | str, expected_sha256: str | None) -> None:
    """Download `url` to `path`, unless a file with the right checksum is there already.

    What has arrived is kept as `<path>.partial`; the next call asks the server for the rest.

    Args:
        url: HTTP or HTTPS.
        path: of the finished file, which only ever appears whole and verified.
        expected_sha256: None where it is unknown; then an existing file is taken as it is.

    Raises:
        RecipeError: the server does not answer or breaks off, the disk is full, or what arrived
            is not what was expected.
    """
    path = Path(path)
    if path.exists() and (expected_sha256 is None or sha256(path) == expected_sha256):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    _fetch_rest(url, partial)
    if expected_sha256 and (found := sha256(partial)) != expected_sha256:
        partial.unlink()
        raise RecipeError(
            f"{url} sent a file whose SHA-256 is {found} where {expected_sha256} was expected. It "
            "was deleted; run the same command again, and if that gives the same checksum, do not "
            "trust the server"
        )
    partial.replace(path)


def _fetch_rest(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS_WITHOUT_DATA) as response:
            # A server that cannot send ranges answers 200 with the whole file.
            start = have if response.status == 206 else 0
            total = start + int(response.headers.get("Content-Length", 0))
            with disk_space(partial.parent, max(total - start, 0)):
                _receive(response, partial, start, total)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise RecipeError(f"{url} answered {error.code} {error.reason}") from error
        # Nothing is left to ask for: the checksum decides whether the file is whole.
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        kept = partial.stat().st_size if partial.exists() else 0
        raise RecipeError(
            f"downloading {url} failed after {kept / 1e6:.1f} MB: {error}. Run the same command "
            "again, which goes on from there"
        ) from error


def _receive(response: IO[bytes], partial: Path, start: int, total: int) -> None:
    with (
        partial.open("r+b" if start else "wb") as file,
        progress(f"downloading {partial.stem}", total or 1) as show,
    ):
        file.seek(start)
        done = start
        while block := response.read(_BLOCK):
            file.write(block)
            done += len(block)
            show(done)
    if total and done < total:
        raise ConnectionError(f"the server broke off after {done} of {total} bytes")


def read_archive(
    archive: Path | str, wanted: Callable[[PurePosixPath], bool]
) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Name, size and contents of an archive's wanted files, in the order they are stored.

    Nothing is written to disk, so that nothing can land outside the corpus's folder.

    Raises:
        RecipeError: the archive is damaged, or has a wanted name that is not a plain file inside
            it (a link, a device, an absolute path or one with `..`).
    """
    size = Path(archive).stat().st_size
    try:
        with (
            Path(archive).open("rb") as compressed,
            progress(f"unpacking {Path(archive).name}", size) as show,
            tarfile.open(fileobj=compressed, mode="r:*") as tar,
        ):
            for member in tar:
                show(compressed.tell())
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise RecipeError(f"{archive} holds {member.name}, which points outside it")
                if not wanted(path):
                    continue
                if not member.isreg():
                    raise RecipeError(f"{archive} holds {member.name}, which is not a plain file")
                yield path, member.size, tar.extractfile(member)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise RecipeError(f"{archive} is damaged: {error}. Delete it and run again") from error
