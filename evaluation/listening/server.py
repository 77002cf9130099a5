"""A small server for a listening test: it serves the page and its clips and collects answers.

It reads the files of the test when it starts and serves nothing else, so no address can lead to
other files. Answers are checked and flushed to the disk before they are acknowledged.
"""

import json
import mimetypes
import re
import sys
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from evaluation.listening.answer_file import AnswerFile, DuplicateError
from evaluation.listening.answers import MAX_BYTES, AnswerError, read_key
from pipeline.errors import RecipeError

REQUEST_SECONDS = 30
"""A connection is closed if it is silent for this long."""
ANSWERS = "answers"
"""Address for answers, relative to the page."""
ADDRESS_TAG = b'name="answers-address" content=""'


class ListeningServer(ThreadingHTTPServer):
    """Serves one test, with one thread for each connection.

    Args:
        address: host and port.
        folder: the folder that `build` wrote.
        completion: code or address that participants get when their answers are stored.

    Raises:
        RecipeError: the folder does not hold a complete test.
        OSError: the server cannot listen at this address.
    """

    # socketserver's default of 5 refused some of two dozen listeners who connected at once.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], folder: Path, completion: str):
        key = read_key(folder)
        self.completion = completion
        self.answers = AnswerFile(folder / "answers.jsonl", key)
        self.files = served_files(folder / "test")
        if key.test.encode() not in self.files["/index.html"]:
            raise RecipeError(
                f"{folder}/key.json belongs to another test: run `make listening-test` again"
            )
        self._plans, self._next_listener = len(key.plans), count(self.answers.listeners)
        super().__init__(address, _Handler)

    def next_plan(self) -> int:
        """Assign plans in turn, so that each side of every pair is heard equally often."""
        return next(self._next_listener) % self._plans

    def handle_error(self, request: object, client_address: object) -> None:
        """Print errors, except for broken connections, without the listener's address."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


def served_files(folder: Path) -> dict[str, bytes]:
    """Read the files of a test: from path in the address to contents.

    If the page has no address for answers, it gets this server's.

    Raises:
        RecipeError: the folder holds no test.
    """
    if not (folder / "index.html").exists():
        raise RecipeError(f"{folder} holds no listening test: run `make listening-test`")
    files = {
        "/" + str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    here = ADDRESS_TAG.replace(b'content=""', f'content="{ANSWERS}"'.encode())
    files["/index.html"] = files["/index.html"].replace(ADDRESS_TAG, here)
    return files


def make_server(folder: Path, host: str, port: int, completion: str = "") -> ListeningServer:
    """Make a server for the test in `folder`, ready for `serve_forever`.

    Raises:
        RecipeError: the folder does not hold a complete test, or the host and port cannot be used.
    """
    try:
        return ListeningServer((host, port), folder, completion)
    except (OSError, OverflowError) as error:
        raise RecipeError(
            f"cannot listen at {host}:{port} ({error}): choose another with listening.port"
        ) from None


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with the test's files, and takes answers by POST."""

    server: ListeningServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ListeningTest", ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/" and "plan" not in parse_qs(address.query):
            # What the address says about the participant is kept.
            query = "&".join(filter(None, [f"plan={self.server.next_plan()}", address.query]))
            self._send(HTTPStatus.SEE_OTHER, headers={"Location": f"/?{query}"})
            return
        path = "/index.html" if address.path == "/" else address.path
        if path not in self.server.files:
            self._send(HTTPStatus.NOT_FOUND, b"not found\n")
            return
        self._send_file(path)

    do_HEAD = do_GET

    def do_OPTIONS(self) -> None:
        """Let pages of other servers send their answers here."""
        self._send(HTTPStatus.NO_CONTENT, headers={"Access-Control-Allow-Headers": "Content-Type"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if urlsplit(self.path).path != f"/{ANSWERS}":
            self._refuse(HTTPStatus.NOT_FOUND, "not found")
        elif not re.fullmatch("[0-9]{1,12}", length):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        elif int(length) > MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAX_BYTES} bytes")
        else:
            self._store(self.rfile.read(int(length)))

    def _store(self, body: bytes) -> None:
        try:
            self.server.answers.append(body)
        except DuplicateError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error), completion=self.server.completion)
        except AnswerError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except OSError:
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, "the answers could not be stored")
        else:
            self._send_json(HTTPStatus.CREATED, stored=True, completion=self.server.completion)

    def _refuse(self, status: HTTPStatus, reason: str, **fields: str) -> None:
        # The rest of the request was not read, so the connection cannot be used again.
        self.close_connection = True
        self._send_json(status, {"Connection": "close"}, stored=False, reason=reason, **fields)

    def _send_json(
        self, status: HTTPStatus, headers: dict[str, str] | None = None, **fields: bool | str
    ) -> None:
        self._send(status, json.dumps(fields).encode() + b"\n", "application/json", headers)

    def _send_file(self, path: str) -> None:
        """Send a file, or the one range of it that players on phones ask for."""
        body = self.server.files[path]
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
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
        headers = (headers or {}) | {
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
        """Log nothing, since a log would tell who listened when."""
