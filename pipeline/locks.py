"""Which processes work where."""

import os
from pathlib import Path

from pipeline.errors import RecipeError


def is_alive(process: int) -> bool:
    """Whether a process with this number exists on this machine."""
    try:
        os.kill(process, 0)  # signal 0 does nothing but check
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


def lock_folder(folder: Path, lock: Path, seconds: float = 0):
    """Lock a folder for this process; return the `filelock.FileLock`, which is held already.

    Args:
        folder: named in the error message.
        lock: the lock file.
        seconds: how long to wait for another process.

    Raises:
        RecipeError: another process holds the lock.
    """
    # Importing it takes a tenth of a second, which is only spent where something is computed.
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    # A singleton can be acquired twice by one process, which would otherwise wait for itself.
    held = FileLock(lock, is_singleton=True)
    try:
        held.acquire(timeout=seconds)
    except Timeout:
        raise RecipeError(
            f"another process is at work on {folder}: wait for it or end it"
        ) from None
    return held
