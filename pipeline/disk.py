"""Full disks: checked before a stage writes, and reported by name if it happens all the same."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import RecipeError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def bytes_in(folder: Path | str) -> int:
    """The size of the files under a folder, which a stage that resumes need not write again."""
    paths = (path for path in Path(folder).rglob("*") if not path.is_symlink() and path.is_file())
    return sum(path.stat().st_size for path in paths)


@contextmanager
def disk_space(folder: Path | str, needed: int) -> Iterator[None]:
    """A context in which about `needed` bytes are written under `folder`.

    Raises:
        RecipeError: there is too little space at the beginning, or it runs out inside the block.
    """
    folder, needed = Path(folder).absolute(), max(needed, 0)
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise RecipeError(_message(folder, needed))
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RecipeError(f"{_message(folder, needed)} ({error})") from error


def _message(folder: Path, needed: int) -> str:
    free = shutil.disk_usage(_existing(folder)).free
    return (
        f"the disk is full: {folder} has {free / 1e6:.0f} MB left and about {needed / 1e6:.0f} MB "
        "are needed there. Free some space and run the same command again, which goes on where "
        "it stopped, or put data/ on another disk with paths.data=<folder>"
    )
