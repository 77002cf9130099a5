"""Download a large archive over HTTP, resuming earlier attempts, and read its files.

pooch is not used, because it starts each attempt at the first byte.
"""

import http.client
import lzma
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from filelock import FileLock

from pipeline.digests import sha256
from pipeline.disk import disk_space
from pipeline.errors import RecipeError
from pipeline.progress import progress

_BLOCK = 1 << 18
_SECONDS_WITHOUT_DATA = 60
_PAUSES = (1, 2, 4, 8, 16)
"""Seconds to wait before another attempt, for each failure in a row that brought no new byte."""
_TRANSIENT = {408, 429, 500, 502, 503, 504}
"""HTTP status codes of transient failures."""


class ServerError(RecipeError):
    """A server does not have the file, sends a wrong one, or cannot be reached."""


class _Interrupted(Exception):
    """A transient failure: the next attempt may succeed."""


class _Unreachable(_Interrupted):
    """Nothing answers at the address, which can be transient once a server has answered."""


def fetch(urls: Sequence[str], path: Path | str, expected_sha256: str | None) -> None:
    """Download a file to `path`, unless it is already there with the right checksum.

    What has arrived is kept as `<path>.partial`, and servers are only asked for the rest. Without a
    checksum nothing shows whether two parts belong together, so each server and each call starts
    from the beginning. Interrupted attempts are repeated, with longer and longer pauses as long as
    nothing arrives. Another process that fetches the same file is waited for.

    Args:
        urls: HTTP or HTTPS addresses of the same file. The next one is tried when one fails for
            good.
        path: of the finished file, which appears only when it is complete and verified.
        expected_sha256: None if it is unknown; an existing file is then trusted.

    Raises:
        ServerError: no server sends the expected file; says what each of them did.
        RecipeError: the disk is full.
    """
    path = Path(path)
    if _is_there(path, expected_sha256):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with FileLock(lock):
        try:
            if not _is_there(path, expected_sha256):
                _fetch_from_any(urls, path, expected_sha256)
        finally:
            lock.unlink(missing_ok=True)  # a waiting process then makes a new one (filelock >= 4)


def _is_there(path: Path, expected_sha256: str | None) -> bool:
    return path.exists() and (expected_sha256 is None or sha256(path) == expected_sha256)


def _fetch_from_any(urls: Sequence[str], path: Path, expected_sha256: str | None) -> None:
    partial = path.with_name(path.name + ".partial")
    advice = "Run the same command again" + (", which resumes there" if expected_sha256 else "")
    failures = []
    for url in urls:
        if expected_sha256 is None:
            partial.unlink(missing_ok=True)
        try:
            _fetch_patiently(url, partial, advice)
            _verify(url, partial, expected_sha256)
        except ServerError as error:
            failures.append(str(error))
        else:
            partial.replace(path)
            return
    raise ServerError("\n".join(failures))


def _verify(url: str, partial: Path, expected_sha256: str | None) -> None:
    if expected_sha256 and (found := sha256(partial)) != expected_sha256:
        partial.unlink()
        raise ServerError(
            f"{url} sent a file whose SHA-256 is {found} instead of {expected_sha256}. The file "
            "was deleted. Run the same command again; if the checksum is the same again, do not "
            "trust the server"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch_patiently(url: str, partial: Path, advice: str) -> None:
    failures, has_answered = 0, False
    while True:
        before = _size(partial)
        try:
            return _fetch_rest(url, partial)
        except _Interrupted as error:
            if isinstance(error, _Unreachable) and not has_answered:
                # A wrong address or a missing network: waiting for minutes would not help.
                raise ServerError(f"{url} cannot be reached: {error}") from error
            has_answered = True
            if _size(partial) > before:
                failures = 0
            if failures == len(_PAUSES):
                raise ServerError(
                    f"downloading {url} failed after {_size(partial) / 1e6:.1f} MB: {error}. "
                    + advice
                ) from error
            print(f"{url}: {error}; trying again in {_PAUSES[failures]} s", flush=True)
            time.sleep(_PAUSES[failures])
            failures += 1


def _fetch_rest(url: str, partial: Path) -> None:
    """One attempt.

    Raises:
        _Interrupted: a transient failure.
        ServerError: a permanent failure.
    """
    have = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with _network():
            opened = urllib.request.urlopen(request, timeout=_SECONDS_WITHOUT_DATA)
        with opened as response:
            # A server that does not support ranges answers 200 and sends the whole file.
            start = have if response.status == 206 else 0
            total = start + int(response.headers.get("Content-Length", 0))
            with disk_space(partial.parent, max(total - start, 0)):
                _receive(response, partial, start, total)
    except urllib.error.HTTPError as error:
        if error.code in _TRANSIENT:
            raise _Interrupted(f"the server answered {error.code} {error.reason}") from error
        if error.code != 416:
            raise ServerError(f"{url} answered {error.code} {error.reason}") from error
        # The server has no bytes left to send. The checksum decides whether the file is complete.
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | ConnectionResetError):
            raise _Interrupted(str(error.reason)) from error
        raise _Unreachable(str(error.reason)) from error


@contextmanager
def _network() -> Iterator[None]:
    """Treat every failure of the network as transient."""
    try:
        yield
    except urllib.error.URLError:
        raise
    except TimeoutError as error:
        raise _Interrupted(f"no data arrived for {_SECONDS_WITHOUT_DATA} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(str(error) or type(error).__name__) from error


def _receive(response: http.client.HTTPResponse, partial: Path, start: int, total: int) -> None:
    with (
        partial.open("r+b" if start else "wb") as file,
        progress(f"downloading {partial.stem}", total or 1, in_bytes=True) as show,
    ):
        file.seek(start)
        done = start
        while block := _arrived(response):
            file.write(block)
            done += len(block)
            show(done)
    if total and done < total:
        raise _Interrupted(f"the connection ended after {done} of {total} bytes")


def _arrived(response: http.client.HTTPResponse) -> bytes:
    # read1 returns what has arrived. read would wait for more, and lose it if the connection broke.
    with _network():
        return response.read1(_BLOCK)


def read_archive(
    archive: Path | str, wanted: Callable[[PurePosixPath], bool]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the names and contents of an archive's wanted files, in the order of the archive.

    Nothing is written to disk, so an archive cannot write outside the corpus's folder.

    Raises:
        RecipeError: the archive is damaged, a name in it points outside, or a wanted file is not a
            plain file but a link or a device.
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
                # Read here, so that damage inside a member is reported like any other damage.
                yield path, tar.extractfile(member).read()
            while tar.fileobj.read(_BLOCK):
                pass  # read to the end, where gzip and xz have their checksums
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise RecipeError(
            f"{archive} is damaged: {error}. Delete it and run the command again"
        ) from error
