"""The answers that the server has collected: a SQLite database, and JSON lines for export."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from evaluation.listening.answers import AnswerError, Key, check, identities, parse

MAX_LISTENERS = 10_000
DATABASE, EXPORT = "answers.sqlite", "answers.jsonl"


class DuplicateError(AnswerError):
    """These answers were stored before."""


class AnswerStore:
    """Answers of listeners in `answers.sqlite`, safe for several threads and processes.

    Valid answers in `answers.jsonl` that the database lacks are taken over when it is opened.

    Args:
        folder: of the listening test.
        key: of the test.
    """

    def __init__(self, folder: Path, key: Key):
        self.export_path, self.key = folder / EXPORT, key
        # Even a SELECT of another thread could hide the error of an INSERT on the same connection.
        self._lock = threading.Lock()
        self._database = sqlite3.connect(folder / DATABASE, timeout=60, check_same_thread=False)
        # EXTRA: a transaction is on the disk when it ends, and its journal is gone from there.
        self._database.executescript("""
            PRAGMA synchronous = EXTRA;
            CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, text TEXT);
            CREATE TABLE IF NOT EXISTS identities (identity TEXT PRIMARY KEY);
        """)
        for line in self._exported().splitlines():
            try:
                self._insert(check(parse(line), key), line.decode())
            except AnswerError:
                continue  # stored already, or cut by a crash; `make preferences` reports the latter

    def __len__(self) -> int:
        with self._lock:
            return self._database.execute("SELECT count(*) FROM answers").fetchone()[0]

    def add(self, body: bytes) -> None:
        """Check one listener's answers and store them durably in one transaction.

        Raises:
            AnswerError: they are not valid, or `MAX_LISTENERS` have answered.
            DuplicateError: they were stored before.
            sqlite3.Error: they could not be written.
        """
        answers = check(parse(body), self.key)
        if len(self) >= MAX_LISTENERS:
            raise AnswerError("the test has ended")
        self._insert(answers, json.dumps(answers))

    def _insert(self, answers: dict, text: str) -> None:
        keys = [(identity,) for identity in identities(answers)]
        with self._lock, self._database as database:
            try:
                database.executemany("INSERT INTO identities VALUES (?)", keys)
            except sqlite3.IntegrityError:
                raise DuplicateError("these answers were stored before") from None
            database.execute("INSERT INTO answers (text) VALUES (?)", (text,))

    def _exported(self) -> bytes:
        return self.export_path.read_bytes() if self.export_path.exists() else b""

    def export(self) -> None:
        """Append the answers that `answers.jsonl` lacks to it, one JSON object a line."""
        there = self._exported()
        lines = set(there.splitlines())
        with self._lock:
            stored = self._database.execute("SELECT text FROM answers ORDER BY number").fetchall()
        if new := [text for (text,) in stored if text.encode() not in lines]:
            # A crash may have cut the last line.
            start = "\n" if there and not there.endswith(b"\n") else ""
            with self.export_path.open("a") as file:
                file.write(start + "".join(f"{text}\n" for text in new))

    def close(self) -> None:
        """Export the answers and close the database."""
        self.export()
        self._database.close()


def has_answers(folder: Path) -> bool:
    """Whether the folder of a test holds answers."""
    if (folder / EXPORT).exists():
        return True
    if not (folder / DATABASE).exists():
        return False
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        return bool(database.execute("SELECT count(*) FROM answers").fetchone()[0])
