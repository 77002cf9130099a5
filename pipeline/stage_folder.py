"""One stage's folder on disk: what its result depends on, and whether it is complete.

`begin` writes the fingerprint of everything that the result depends on, `finish` marks the folder
complete. A folder with the same fingerprint is skipped when it is complete, and continued when it
is not; a folder with another fingerprint is emptied. (The idea is open_lth's hashed results.)
"""

import os
import shutil
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json


def _link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)  # from a copy that was killed
    try:
        os.link(source, target)
    except OSError:  # across file systems, or where there are no links
        shutil.copyfile(source, target)


def _remove_leftovers(folder: Path) -> None:
    """Delete what `atomic_path` could not finish in processes that were killed."""
    for path in folder.rglob(".*.partial*"):
        writer = int(path.name.rpartition(".partial")[0].rpartition(".")[2])
        try:
            os.kill(writer, 0)  # signal 0 only asks whether the process is there
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:  # it is there, and another user's: perhaps it still writes
            pass


class StageFolder:
    """One stage's output folder and its state: absent, begun, complete, or stale.

    Args:
        folder: owned by the stage alone; emptied when its fingerprint changes.
        fingerprint: of all that the stage's result depends on.
    """

    def __init__(self, folder: Path | str, fingerprint: str):
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self._state = self.folder / "stage.json"
        self._lock = None  # held from `begin` to `finish`

    def _recorded(self) -> dict:
        return read_json(self._state) if self._state.exists() else {}

    def is_complete(self) -> bool:
        recorded = self._recorded()
        return recorded.get("fingerprint") == self.fingerprint and recorded["complete"]

    def require(self, command: str) -> None:
        """Raise `RecipeError`, which names the command that helps, unless the stage is complete."""
        if not self.is_complete():
            raise RecipeError(f"{self.folder} is not there or outdated: run `{command}`")

    def is_begun(self) -> bool:
        """Whether `begin` would go on with what is there, rather than empty the folder."""
        return self._recorded().get("fingerprint") == self.fingerprint

    def check_ours(self) -> None:
        """Raise `RecipeError` if the folder holds files that no stage wrote."""
        if self._state.exists() or not self.folder.exists():
            return
        if foreign := [path.name for path in self.folder.iterdir() if path.name[0] != "."]:
            raise RecipeError(
                f"{self.folder} holds files that are not this recipe's ({foreign[0]}): move "
                "them away, or choose other paths"
            )

    def begin(self) -> bool:
        """Make the folder ready; True if earlier work under the same fingerprint is there.

        A finished result of other settings is emptied: check first that these can be followed.
        Until `finish`, or the end of this process, no other may begin.

        Raises:
            RecipeError: another process has begun, or the folder holds files that no stage wrote,
                and would be emptied.
        """
        self.check_ours()
        self._keep_others_out()
        resuming = self.is_begun()
        stale = self.folder.with_name(f".{self.folder.name}.stale")
        if not resuming and self.folder.exists():
            # Renamed first, so that a process killed here leaves no half of a finished result.
            shutil.rmtree(stale, ignore_errors=True)
            self.folder.rename(stale)
        shutil.rmtree(stale, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(self.folder)
        write_json(self._state, {"fingerprint": self.fingerprint, "complete": False})
        return resuming

    def _keep_others_out(self) -> None:
        from filelock import (
            FileLock,
            Timeout,
        )  # takes a tenth of a second, which readers are spared

        self.folder.parent.mkdir(parents=True, exist_ok=True)
        # One for all that this process makes of the folder, so that it never waits for itself.
        path = self.folder.with_name(f".{self.folder.name}.lock")
        self._lock = FileLock(path, timeout=0, is_singleton=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise RecipeError(
                f"another process is at work on {self.folder}: wait for it, or end it"
            ) from None

    def take_over(self, other: Path) -> None:
        """Become a complete copy of another folder of the same fingerprint.

        Its files are linked where the file system can: stages replace files and never change them.
        """
        self.begin()
        shutil.copytree(other, self.folder, copy_function=_link, dirs_exist_ok=True)
        self.finish()

    def finish(self) -> None:
        write_json(self._state, {"fingerprint": self.fingerprint, "complete": True})
        if self._lock is not None:
            self._lock.release(force=True)
