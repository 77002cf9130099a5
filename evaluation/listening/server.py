"""A small server for a listening test: its page, its clips, and a place for answers.

It knows the files of the test when it starts and serves nothing else, so no path can lead out.
Answers are checked, then appended to a file and flushed to the disk before they are acknowledged.
"""

import fcntl
import json
import mimetypes
import os
import re
import sys
import threading
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from evaluation.listening.answers import (
    MOST_BYTES,
    AnswerError,
    Key,
    check,
    identity,
    parse,
    read_key,
)
from pipeline.errors import RecipeError

MOST_LISTENERS = 10_000
SECONDS_TO_SEND = 30
ANSWERS = "answers"
"""The address of answers, below the page's."""
PLACE = b'name="answers-address" content=""'


class Server(ThreadingHTTPServer):
    """One thread a connection, and room for a whole room of listeners who connect at once."""

    request_queue_size = 128  # socketserver's five refused some of two dozen

    def handle_error(self, request: object, client_address: object) -> None:
        """Say what went wrong, but for a listener's leaving, and not to whom."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class Duplicate(AnswerError):
    """Answers of a listener who has answered before."""


class AnswerFile:
    """Answers of listeners, one JSON object a line, only ever appended to."""

    def __init__(self, path: Path, key: Key):
        self.path, self.key = path, key
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        if path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    self._remember(check(parse(line), key))
                except AnswerError:
                    continue  # a line that a crash cut short; `make preferences` tells of it

    def __len__(self) -> int:
        return len(self._seen) // 2  # each listener's name and answers

    def _remember(self, answers: dict) -> None:
        self._seen |= {answers["listener"], identity(answers)}

    def append(self, body: bytes) -> None:
        """Check and store one listener's answers.

        Raises:
            AnswerError: they are not valid; `Duplicate`: they are there already.
        """
        answers = check(parse(body), self.key)
        with self._lock:
            if {answers["listener"], identity(answers)} & self._seen:
                raise Duplicate("these answers are here already")
            if len(self) >= MOST_LISTENERS:
                raise AnswerError("the test is over")
            with self.path.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                line = json.dumps(answers).encode() + b"\n"
                # After a crash the last line may have no end.
                file.write(line if _ends_well(self.path) else b"\n" + line)
                file.flush()
                os.fsync(file.fileno())
            self._remember(answers)


def _ends_well(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def served_files(folder: Path) -> dict[str, bytes]:
    """{path in the address: contents} of the test; its page sends answers here unless it says
    otherwise.

    Raises:
        RecipeError: it is not there.
    """
    if not (folder / "index.html").exists():
        raise RecipeError(f"{folder} holds no listening test: run `make listening-test`")
    files = {
        "/" + str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    here = PLACE.replace(b'content=""', f'content="{ANSWERS}"'.encode())
    files["/index.html"] = files["/index.html"].replace(PLACE, here)
    return files


def make_server(folder: Path, host: str, port: int) -> Server:
    """A server of the test in `folder` (see `build`), ready for `serve_forever`.

    Raises:
        RecipeError: there is no whole test, or nothing can listen at this host and port.
    """
    key = read_key(folder)
    store = AnswerFile(folder / "answers.jsonl", key)
    files, next_listener = served_files(folder / "test"), count(len(store))
    if key.test.encode() not in files["/index.html"]:
        raise RecipeError(f"{folder}/key.json is of another test: run `make listening-test` again")

    class Handler(BaseHTTPRequestHandler):
        """GET and HEAD for the test's files, POST for answers."""

        protocol_version = "HTTP/1.1"
        server_version, sys_version = "ListeningTest", ""
        timeout = SECONDS_TO_SEND

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if address.path == "/" and "plan" not in parse_qs(address.query):
                # In turn, so that both sides of every pair are heard equally often.
                plan = next(next_listener) % len(key.plans)
                self._send(HTTPStatus.SEE_OTHER, headers={"Location": f"/?plan={plan}"})
                return
            path = "/index.html" if address.path == "/" else address.path
            if path not in files:
                self._send(HTTPStatus.NOT_FOUND, b"not found\n")
                return
            self._send_file(path)

        do_HEAD = do_GET

        def do_OPTIONS(self) -> None:
            """A page from elsewhere asks whether it may send answers here."""
            headers = {"Access-Control-Allow-Headers": "Content-Type"}
            self._send(HTTPStatus.NO_CONTENT, headers=headers)

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if urlsplit(self.path).path != f"/{ANSWERS}":
                self._refuse(HTTPStatus.NOT_FOUND, "not found")
            elif not re.fullmatch("[0-9]{1,12}", length):
                self._refuse(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
            elif int(length) > MOST_BYTES:
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BYTES} bytes")
            else:
                self._receive(self.rfile.read(int(length)))

        def _receive(self, body: bytes) -> None:
            try:
                store.append(body)
            except Duplicate as error:
                self._refuse(HTTPStatus.CONFLICT, str(error))
            except AnswerError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            except OSError:
                self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "the answers could not be stored")
            else:
                self._send(HTTPStatus.CREATED, b'{"stored": true}\n', "application/json")

        def _refuse(self, status: HTTPStatus, reason: str) -> None:
            # What is left of the request is not read, so the connection cannot go on.
            self.close_connection = True
            body = json.dumps({"stored": False, "reason": reason}).encode() + b"\n"
            self._send(status, body, "application/json", {"Connection": "close"})

        def _send_file(self, path: str) -> None:
            """The file or the one range of it that is asked for, as players on phones do."""
            body, kind = files[path], mimetypes.guess_type(path)[0] or "application/octet-stream"
            asked = re.fullmatch(r"bytes=(\d{1,12})-(\d{0,12})", self.headers.get("Range", ""))
            if asked is None:
                self._send(HTTPStatus.OK, body, kind, {"Accept-Ranges": "bytes"})
                return
            first, last = int(asked[1]), min(int(asked[2] or len(body)), len(body) - 1)
            if first > last:
                whole = {"Content-Range": f"bytes */{len(body)}"}
                self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=whole)
                return
            part = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
            self._send(HTTPStatus.PARTIAL_CONTENT, body[first : last + 1], kind, part)

        def _send(
            self,
            status: HTTPStatus,
            body: bytes = b"",
            kind: str = "text/plain",
            headers: dict[str, str] | None = None,
        ) -> None:
            self.send_response(status)
            headers = headers or {}
            headers |= {
                "Content-Type": kind + ("; charset=utf-8" if kind.startswith("text/") else ""),
                "Content-Length": str(len(body)),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
                "Access-Control-Allow-Origin": "*",
                "Content-Security-Policy": "default-src 'self'; connect-src *; img-src data:",
            }
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_) -> None:
            """Say nothing: who listened to what is nobody's business."""

    try:
        return Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise RecipeError(
            f"cannot listen at {host}:{port} ({error}): choose another with listening.port"
        ) from None
