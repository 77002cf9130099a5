"""The file to which the server appends answers."""

import fcntl
import json
import os
import threading
from pathlib import Path

from evaluation.listening.answers import AnswerError, Key, check, identities, parse

MAX_LISTENERS = 10_000


class DuplicateError(AnswerError):
    """These answers were stored before."""


class AnswerFile:
    """Answers of listeners, one JSON object per line. Threads may append at the same time.

    Args:
        path: the file, which may not exist yet.
        key: of the test.
    """

    def __init__(self, path: Path, key: Key):
        self.path, self.key = path, key
        self.listeners = 0
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        for line in path.read_bytes().splitlines() if path.exists() else []:
            try:
                self._remember(check(parse(line), key))
            except AnswerError:
                continue  # A crash may have cut the line. `make preferences` reports it.

    def _remember(self, answers: dict) -> None:
        self._seen.update(identities(answers))
        self.listeners += 1

    def append(self, body: bytes) -> None:
        """Check one listener's answers, append them and flush them to the disk.

        Raises:
            AnswerError: they are not valid, or `MAX_LISTENERS` have answered.
            DuplicateError: they were stored before.
            OSError: they could not be written.
        """
        answers = check(parse(body), self.key)
        with self._lock:
            if not self._seen.isdisjoint(identities(answers)):
                raise DuplicateError("these answers were stored before")
            if self.listeners >= MAX_LISTENERS:
                raise AnswerError("the test has ended")
            with self.path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                line = json.dumps(answers).encode() + b"\n"
                # After a crash the last line may lack its end.
                file.write(line if self._ends_with_newline() else b"\n" + line)
                file.flush()
                os.fsync(file.fileno())
            self._remember(answers)

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
