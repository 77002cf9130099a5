"""One stage's folder on disk: what its result depends on, and whether it is complete.

`begin` writes the fingerprint of everything that the result depends on, and `finish` marks the
folder complete. A folder with the same fingerprint is skipped if it is complete and continued if it
is not. A folder with another fingerprint is emptied. (The idea is open_lth's hashed results.)
"""

import os
import shutil
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_json, remove_partial_files, write_json
from pipeline.locks import lock_folder


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
        """Raise `RecipeError`, which names the command to run, unless the stage is complete."""
        if not self.is_complete():
            raise RecipeError(f"{self.folder} is missing or outdated: run `{command}`")

    def is_begun(self) -> bool:
        """Whether `begin` would continue with the files in the folder rather than empty it."""
        return self._recorded().get("fingerprint") == self.fingerprint

    def refuse_foreign_files(self) -> None:
        """Raise `RecipeError` if the folder holds files that no stage wrote."""
        if self._state.exists() or not self.folder.exists():
            return
        if foreign := [path.name for path in self.folder.iterdir() if path.name[0] != "."]:
            raise RecipeError(
                f"{self.folder} holds files that this recipe did not write ({foreign[0]}): move "
                "them away, or choose other paths"
            )

    def begin(self) -> bool:
        """Prepare the folder; return whether it holds unfinished work of the same fingerprint.

        A finished result of other settings is emptied, so check the new settings first. No other
        process may begin until `finish`, or until this process ends.

        Raises:
            RecipeError: another process has begun, or the folder would be emptied of files that no
                stage wrote.
        """
        self.refuse_foreign_files()
        lock = self.folder.with_name(f".{self.folder.name}.lock")
        self._lock = lock_folder(self.folder, lock)
        resuming = self.is_begun()
        stale = self.folder.with_name(f".{self.folder.name}.stale")
        if not resuming and self.folder.exists():
            # Renamed first, so that a kill at this point leaves no half of a finished result.
            shutil.rmtree(stale, ignore_errors=True)
            self.folder.rename(stale)
        shutil.rmtree(stale, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_partial_files(self.folder)
        write_json(self._state, {"fingerprint": self.fingerprint, "complete": False})
        return resuming

    def take_over(self, other: Path) -> None:
        """Become a complete copy of another folder of the same fingerprint.

        Files are hard links where the file system has them. This is safe because stages replace
        files and never change them.
        """
        self.begin()
        shutil.copytree(other, self.folder, copy_function=_link, dirs_exist_ok=True)
        self.finish()

    def finish(self) -> None:
        """Mark the result complete and let other processes begin."""
        write_json(self._state, {"fingerprint": self.fingerprint, "complete": True})
        if self._lock is not None:
            self._lock.release(force=True)


def _link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)  # a copy that was killed may have left it
    try:
        os.link(source, target)
    except OSError:  # on another file system, or on one without links
        shutil.copyfile(source, target)
