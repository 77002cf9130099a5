"""The server that collects answers, against everything that the network may send it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from listening_cases import BAD, Listener, make_run, running, serving

from evaluation.listening import server
from evaluation.listening.answers import MAX_BYTES, read_answers, read_key
from evaluation.listening.build import build_test
from evaluation.listening.server import make_server
from evaluation.listening.store import AnswerStore
from pipeline.errors import RecipeError

LISTENERS = 200


def build_in(folder: Path, sentences: int = 4) -> Path:
    """Build a test of two runs in `folder / "listening"`, which is returned."""
    runs = [make_run(folder / name, name, seed) for seed, name in enumerate(["a", "b"])]
    build_test(runs, sentences, 0, "", folder / "listening")
    return folder / "listening"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a running server and the folder of its test."""
    folder = build_in(tmp_path_factory.mktemp("served"))
    with serving(folder) as address:
        yield address, folder


def request(served, method: str, path: str, body: bytes | None = None, **headers):
    connection = http.client.HTTPConnection(*served[0], timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def send(served, answers: dict) -> int:
    return request(served, "POST", "/answers", json.dumps(answers).encode())[0].status


def stored(served) -> list[dict]:
    """The answers in the database, read beside the running server."""
    with contextlib.closing(sqlite3.connect(served[1] / "answers.sqlite")) as database:
        rows = database.execute("SELECT text FROM answers ORDER BY number").fetchall()
    return [json.loads(text) for (text,) in rows]


def test_errors_say_why_a_test_cannot_be_served(served, tmp_path):
    (_, port), folder = served
    with pytest.raises(RecipeError, match=f"cannot listen at 127.0.0.1:{port} .*listening.port"):
        make_server(folder, "127.0.0.1", port)
    with pytest.raises(RecipeError, match="cannot listen at 127.0.0.1:70000"):
        make_server(folder, "127.0.0.1", 70_000)
    with pytest.raises(RecipeError, match="run `make listening-test` first"):
        make_server(tmp_path, "127.0.0.1", 0)
    key = folder / "key.json"
    whole = key.read_text()
    key.write_text(whole.replace(json.loads(whole)["test"], "0" * 16))
    with pytest.raises(RecipeError, match="key.json belongs to another test"):
        make_server(folder, "127.0.0.1", 0)
    key.write_text(whole)


def test_plans_are_assigned_in_turn_and_the_page_sends_answers_here(served):
    places = [request(served, "GET", "/")[0].headers["Location"] for _ in range(3)]
    first = int(places[0].removeprefix("/?plan="))
    assert places == [f"/?plan={first + i}" for i in range(3)]
    response, page = request(served, "GET", places[0])
    assert response.status == 200 and b'name="answers-address" content="answers"' in page
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert request(served, "GET", "/index.html")[1] == page
    head, nothing = request(served, "HEAD", "/page.js")
    assert head.status == 200 and int(head.headers["Content-Length"]) > 1000 and nothing == b""


def test_clips_are_served_completely_and_in_ranges(served):
    name = next((served[1] / "test" / "clips").iterdir())
    path, content = f"/clips/{name.name}", name.read_bytes()
    response, whole = request(served, "GET", path)
    assert whole == content and response.headers["Content-Type"] in ("audio/x-wav", "audio/wav")
    response, part = request(served, "GET", path, Range="bytes=10-19")
    assert response.status == 206 and part == content[10:20]
    assert response.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    assert request(served, "GET", path, Range="bytes=100-")[1] == content[100:]
    assert request(served, "GET", path, Range=f"bytes={len(content)}-")[0].status == 416


@pytest.mark.parametrize(
    "path",
    ["/key.json", "/../key.json", "/clips/../../key.json", "/%2e%2e/key.json", "//etc/passwd"]
    + ["/clips/", "/answers.jsonl", "/..%2fkey.json", "/index.html/../../key.json", "/link"]
    + [
        "/answers.sqlite",
        "/..%2fanswers.sqlite",
        "/docs",
        "/openapi.json",
        "/%00",
        "/" + "x" * 300,
    ],
)
def test_no_other_file_is_served(served, path):
    link = served[1] / "test" / "link"
    if not link.is_symlink():
        link.symlink_to("../key.json")
    response, content = request(served, "GET", path)
    assert response.status == 404 and content == b'{"detail":"Not Found"}'


def test_valid_answers_are_stored_once_and_invalid_ones_never(served):
    good = Listener(5, "a", 0.7).answers(read_key(served[1]), 2)
    assert send(served, good) == 201 and stored(served)[-1] == good
    before = stored(served)
    again, told = request(served, "POST", "/answers", json.dumps(good).encode())
    assert again.status == 409 and json.loads(told)["reason"] == "these answers were stored before"
    for body, _ in BAD:
        response, told = request(served, "POST", "/answers", body)
        assert response.status == 400 and json.loads(told)["reason"]
    for length in (10**9, 10**30, MAX_BYTES + 1):
        big, _ = request(served, "POST", "/answers", b"{}", **{"Content-Length": str(length)})
        assert big.status in (400, 413)
    # Without a length in the head, the body itself is measured.
    endless = iter([b" " * 10_000] * (MAX_BYTES // 10_000 + 1))
    assert request(served, "POST", "/answers", endless)[0].status == 413
    assert request(served, "POST", "/key.json", b"{}")[0].status in (404, 405)
    assert request(served, "PUT", "/answers", b"{}")[0].status == 405
    negative, _ = request(served, "POST", "/answers", b"{}", **{"Content-Length": "-5"})
    assert negative.status == 400
    assert stored(served) == before


def test_a_participant_answers_once_and_gets_the_completion_code(tmp_path):
    folder = build_in(tmp_path)
    key = read_key(folder)
    first, second = (
        Listener(n, "a", 0.7).answers(key, n) | {"participant": "5f3a b"} for n in range(2)
    )
    with serving(folder, completion="C0DE") as address:
        here = (address, folder)
        response, _ = request(here, "GET", "/?PROLIFIC_PID=5f3a%20b&STUDY_ID=1")
        assert response.headers["Location"] == "/?plan=0&PROLIFIC_PID=5f3a%20b&STUDY_ID=1"
        for answers, status, stored_now in [(first, 201, True), (second, 409, False)]:
            response, told = request(here, "POST", "/answers", json.dumps(answers).encode())
            told = json.loads(told)
            assert response.status == status and told["stored"] is stored_now
            # Somebody whose connection broke before the reply arrived needs the code as well.
            assert told["completion"] == "C0DE"
        assert send(here, second | {"participant": "another"}) == 201
        response, told = request(here, "POST", "/answers", b"{}")
        assert response.status == 400 and "completion" not in json.loads(told)
    # Ending the server exports what it has stored.
    with (folder / "answers.jsonl").open("a") as file:
        file.write(json.dumps(second) + "\n")
    accepted, refused = read_answers(folder / "answers.jsonl", key)
    assert accepted == [first, second | {"participant": "another"}]
    assert refused == [("answers.jsonl, line 3", "a duplicate of answers.jsonl, line 2")]


def test_two_hundred_listeners_at_once_lose_nothing(tmp_path):
    folder = build_in(tmp_path)
    key = read_key(folder)
    everyone = [Listener(100 + n, "a", 0.7).answers(key, n % 48) for n in range(LISTENERS)]
    with serving(folder) as address, ThreadPoolExecutor(LISTENERS) as pool:
        here = (address, folder)
        assert list(pool.map(lambda each: send(here, each), everyone)) == [201] * LISTENERS
        # All of them send again at once, as if no reply had arrived.
        assert list(pool.map(lambda each: send(here, each), everyone)) == [409] * LISTENERS
        assert sorted(each["listener"] for each in stored(here)) == sorted(
            each["listener"] for each in everyone
        )
    accepted, refused = read_answers(folder / "answers.jsonl", key)
    assert len(accepted) == LISTENERS and not refused


def test_what_was_acknowledged_survives_a_killed_server(tmp_path):
    """A whole server in a process of its own, which SIGKILL ends; another one goes on."""
    folder = build_in(tmp_path)
    key = read_key(folder)
    program = (
        "import sys; from pathlib import Path; from evaluation.listening.server import make_server;"
        "server, listener = make_server(Path(sys.argv[1]), '127.0.0.1', 0);"
        "print(listener.getsockname()[1], flush=True); server.run(sockets=[listener])"
    )
    everyone = [Listener(n, "a", 0.7).answers(key, n) for n in range(6)]
    for start in (0, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
        )
        here = (("127.0.0.1", int(process.stdout.readline())), folder)
        for answers in everyone[start : start + 3]:
            assert send(here, answers) == 201
        assert send(here, everyone[0]) == 409
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    AnswerStore(folder, key).close()
    assert read_answers(folder / "answers.jsonl", key) == (everyone, [])


def test_a_hundred_connections_can_wait_for_a_busy_server(tmp_path):
    folder = build_in(tmp_path)
    busy, listener = make_server(folder, "127.0.0.1", 0)  # accepts no connection yet
    with contextlib.ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60))
            for _ in range(100)
        ]
        for connection in waiting:
            connection.sendall(b"GET /page.css HTTP/1.1\r\nHost: here\r\n\r\n")
        with running(busy, listener):
            assert all(each.recv(100).startswith(b"HTTP/1.1 200 ") for each in waiting)


def test_answers_of_earlier_versions_are_taken_over(tmp_path):
    """They were lines of answers.jsonl. One that a crash had cut affects no other."""
    folder = build_in(tmp_path)
    key = read_key(folder)
    first, second = (Listener(n, "a", 0.7).answers(key, n) for n in range(2))
    path = folder / "answers.jsonl"
    path.write_text(json.dumps(first) + "\n" + json.dumps(second)[:50])
    with serving(folder) as address:
        here = (address, folder)
        assert request(here, "GET", "/")[0].headers["Location"] == "/?plan=1"
        assert send(here, first) == 409 and send(here, second) == 201
    accepted, refused = read_answers(path, key)
    assert accepted == [first, second] and [where for where, _ in refused] == [
        "answers.jsonl, line 2"
    ]
    before = path.read_bytes()
    with serving(folder):  # a second export adds nothing
        pass
    assert path.read_bytes() == before


def test_a_full_disk_is_told_and_nothing_is_stored(tmp_path, monkeypatch):
    folder = build_in(tmp_path)
    with serving(folder) as address:
        here = (address, folder)
        key, insert = read_key(folder), AnswerStore._insert

        def with_little_room(store, *arguments):
            store._database.execute("PRAGMA max_page_count = 8")
            insert(store, *arguments)

        monkeypatch.setattr(AnswerStore, "_insert", with_little_room)
        everyone = [Listener(n, "a", 0.7).answers(key, 0) for n in range(40)]
        statuses = [send(here, answers) for answers in everyone]
        assert set(statuses) == {201, 507}
        kept = [
            answers for answers, status in zip(everyone, statuses, strict=True) if status == 201
        ]
        assert stored(here) == kept


def test_nothing_is_printed_when_a_listener_leaves(served, capfd):
    for start in (b"GET /page.css HTTP/1.1\r\nHost: here\r\n\r\n", b"POST /answers HTTP/1.1\r\n"):
        with socket.create_connection(served[0]) as connection:
            connection.sendall(start)
            if start.startswith(b"GET"):
                assert connection.recv(12) == b"HTTP/1.1 200"
            else:
                connection.sendall(b"Host: here\r\nContent-Length: 100\r\n\r\n{")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert request(served, "GET", "/page.css")[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_a_client_that_sends_nothing_blocks_no_other(served):
    with socket.create_connection(served[0]):
        assert request(served, "GET", "/page.css")[0].status == 200


@pytest.mark.parametrize("start", [b"", b"GET /page.css HTT", b"POST /answers HTTP/1.1\r\nHost: h"])
def test_a_connection_that_falls_silent_is_closed(tmp_path, monkeypatch, start):
    folder = build_in(tmp_path)
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
    with serving(folder) as address, socket.create_connection(address, timeout=30) as connection:
        connection.sendall(start)
        assert connection.recv(1) == b""
    with serving(folder) as address, socket.create_connection(address, timeout=30) as connection:
        connection.sendall(b"POST /answers HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{")
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
