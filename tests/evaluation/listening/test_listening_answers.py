"""Validation of answers from unknown sources, and the server that collects them."""

import contextlib
import copy
import http.client
import json
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from listening_cases import Listener, make_key, make_run

from evaluation.listening.answers import (
    MAX_BYTES,
    AnswerError,
    check,
    parse,
    read_answers,
    read_key,
)
from evaluation.listening.build import build_test
from evaluation.listening.server import make_server
from pipeline.errors import RecipeError

KEY = make_key(["dense", "sniper"])
GOOD = Listener(0, "sniper", 0.7).answers(KEY, 0)


def changed(**fields) -> dict:
    return copy.deepcopy(GOOD) | fields


def with_answer(**fields) -> dict:
    answers = copy.deepcopy(GOOD)
    answers["answers"][0] |= fields
    return answers


BAD = [
    (b"", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[" * 50_000, "not JSON"),
    (b'{"plan": 1, "plan": 2}', "a name is repeated"),
    (json.dumps(changed(seconds=float("nan"))).encode(), "NaN is not JSON"),
    (json.dumps(changed(seconds=float("inf"))).encode(), "Infinity is not JSON"),
    (b"[]", "not a JSON object"),
    (json.dumps(changed(more=1)).encode(), "the fields have to be"),
    (json.dumps(changed(test="another")).encode(), "another test"),
    (json.dumps(changed(listener="../../etc/passwd")).encode(), "32 hexadecimal"),
    (json.dumps(changed(listener=None)).encode(), "32 hexadecimal"),
    (json.dumps(changed(plan=10_000)).encode(), "plan has to be from 0 to"),
    (json.dumps(changed(plan=True)).encode(), "plan has to be from 0 to"),
    (json.dumps(changed(plan=-1)).encode(), "plan has to be from 0 to"),
    (json.dumps(changed(headphones="yes")).encode(), "headphones"),
    (json.dumps(changed(participant="")).encode(), "participant has to be null or a text"),
    (json.dumps(changed(participant="x" * 201)).encode(), "participant has to be null or a text"),
    (json.dumps(changed(participant=7)).encode(), "participant has to be null or a text"),
    (json.dumps(changed(seconds=-1)).encode(), "seconds has to be a duration"),
    (json.dumps(changed(seconds=1e300)).encode(), "seconds has to be a duration"),
    (json.dumps(changed(answers=GOOD["answers"][:-1])).encode(), "answers have to be a list of 44"),
    (json.dumps(changed(answers=GOOD["answers"] * 2)).encode(), "answers have to be a list of 44"),
    (json.dumps(with_answer(answer="both")).encode(), "answer 1 has to be"),
    (json.dumps(with_answer(answer=["left"])).encode(), "answer 1 has to be"),
    (json.dumps(with_answer(answer=6)).encode(), "answer 1 has to be"),
    (json.dumps(with_answer(answer=True)).encode(), "answer 1 has to be"),
    (json.dumps(with_answer(plays=[1] * 9)).encode(), "answer 1: plays"),
    (json.dumps(with_answer(plays=[1.5, 1])).encode(), "answer 1: plays"),
    (json.dumps(with_answer(why="<script>")).encode(), "answer 1 has to have"),
]


def test_valid_answers_pass():
    assert check(parse(json.dumps(GOOD)), KEY) == GOOD


@pytest.mark.parametrize(("body", "reason"), BAD)
def test_invalid_answers_are_refused_with_the_reason(body, reason):
    with pytest.raises(AnswerError, match=reason):
        check(parse(body), KEY)


def test_answers_to_a_clip_that_was_not_heard_are_refused():
    clips = len(KEY.plans[0][0].systems)
    with pytest.raises(AnswerError, match="answer 1: a clip was not heard"):
        check(with_answer(plays=[0] * clips), KEY)


def test_a_folder_gives_the_valid_answers_and_the_reasons_against_the_others(tmp_path):
    other = Listener(1, "sniper", 0.7).answers(KEY, 1)
    renamed = changed(listener="0" * 32)
    for name, content in {
        "a.json": json.dumps(GOOD),
        "b.json": json.dumps(GOOD),
        "c.json": json.dumps(renamed),
        "d.json": " " * (MAX_BYTES + 1),
        "e.jsonl": f'{json.dumps(other)}\n{"x" * (3 * MAX_BYTES)}\n{{"cut sho',
        "notes.txt": "not answers",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    accepted, refused = read_answers(tmp_path, KEY)
    assert accepted == [GOOD, other]
    assert [where for where, _ in refused] == [
        "b.json",
        "c.json",
        "d.json",
        "e.jsonl, line 2",
        "e.jsonl, line 3",
        "link.json",
    ]
    reasons = [reason for _, reason in refused]
    assert reasons[:2] == ["a duplicate of a.json"] * 2
    assert reasons[2] == reasons[3] == f"more than {MAX_BYTES} bytes"
    assert reasons[4].startswith("not JSON")
    plain = "not a plain file whose name ends in .json or .jsonl"
    assert reasons[5] == plain
    assert read_answers(tmp_path / "notes.txt", KEY) == ([], [("notes.txt", plain)])
    with pytest.raises(RecipeError, match="set RESULTS to a file or folder"):
        read_answers(tmp_path / "nothing", KEY)


def build_in(folder: Path) -> None:
    """Build a test of two runs in `folder / "listening"`."""
    runs = [make_run(folder / name, name, seed) for seed, name in enumerate(["a", "b"])]
    build_test(runs, 4, 0, "", folder / "listening")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A running server and the folder of its test."""
    folder = tmp_path_factory.mktemp("served")
    build_in(folder)
    server = make_server(folder / "listening", "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, folder / "listening"
    server.shutdown()
    server.server_close()
    thread.join()


def test_errors_say_why_a_test_cannot_be_served(served):
    folder = served[1]
    port = served[0].server_address[1]
    with pytest.raises(RecipeError, match=f"cannot listen at 127.0.0.1:{port} .*listening.port"):
        make_server(folder, "127.0.0.1", port)
    with pytest.raises(RecipeError, match="cannot listen at 127.0.0.1:70000"):
        make_server(folder, "127.0.0.1", 70_000)
    key = folder / "key.json"
    whole = key.read_text()
    key.write_text(whole.replace(json.loads(whole)["test"], "0" * 16))
    with pytest.raises(RecipeError, match="key.json belongs to another test"):
        make_server(folder, "127.0.0.1", 0)
    key.write_text(whole)


def request(served, method: str, path: str, body: bytes | None = None, **headers):
    connection = http.client.HTTPConnection(*served[0].server_address[:2], timeout=60)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def stored(served) -> list[str]:
    path = served[1] / "answers.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_plans_are_assigned_in_turn_and_the_page_sends_answers_here(served):
    places = [request(served, "GET", "/")[0].headers["Location"] for _ in range(3)]
    first = int(places[0].removeprefix("/?plan="))
    assert places == [f"/?plan={first + i}" for i in range(3)]
    response, page = request(served, "GET", places[0])
    assert response.status == 200 and b'name="answers-address" content="answers"' in page
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
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
    + ["/clips/", "/answers", "/answers.jsonl", "/..%2fkey.json", "/index.html/../../key.json"],
)
def test_no_other_file_is_served(served, path):
    response, content = request(served, "GET", path)
    assert response.status == 404 and content == b"not found\n"


def test_valid_answers_are_stored_once_and_invalid_ones_never(served):
    key = read_key(served[1])
    good = Listener(5, "a", 0.7).answers(key, 2)
    response, _ = request(served, "POST", "/answers", json.dumps(good).encode())
    assert response.status == 201 and json.loads(stored(served)[-1]) == good
    lines = stored(served)
    again, told = request(served, "POST", "/answers", json.dumps(good).encode())
    assert again.status == 409 and json.loads(told)["reason"] == "these answers were stored before"
    for body, _ in BAD:
        response, told = request(served, "POST", "/answers", body)
        assert response.status in (400, 411) and json.loads(told)["reason"]
    big, _ = request(served, "POST", "/answers", b"{}", **{"Content-Length": str(10**9)})
    assert big.status == 413
    assert request(served, "POST", "/key.json", b"{}")[0].status == 404
    assert request(served, "PUT", "/answers", b"{}")[0].status == 501
    negative, _ = request(served, "POST", "/answers", b"{}", **{"Content-Length": "-5"})
    assert negative.status == 411
    assert stored(served) == lines


def test_a_participant_answers_once_and_gets_the_completion_code(tmp_path):
    build_in(tmp_path)
    folder = tmp_path / "listening"
    server = make_server(folder, "127.0.0.1", 0, completion="C0DE")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here, key = (server, folder), read_key(folder)

    response, _ = request(here, "GET", "/?PROLIFIC_PID=5f3a%20b&STUDY_ID=1")
    assert response.headers["Location"] == "/?plan=0&PROLIFIC_PID=5f3a%20b&STUDY_ID=1"
    first, second = (
        Listener(n, "a", 0.7).answers(key, n) | {"participant": "5f3a b"} for n in range(2)
    )
    other = second | {"participant": "another"}
    for answers, status, stored_now in [(first, 201, True), (second, 409, False)]:
        response, told = request(here, "POST", "/answers", json.dumps(answers).encode())
        told = json.loads(told)
        assert response.status == status and told["stored"] is stored_now
        # Somebody whose connection broke before the reply arrived needs the code as well.
        assert told["completion"] == "C0DE"
    assert request(here, "POST", "/answers", json.dumps(other).encode())[0].status == 201
    response, told = request(here, "POST", "/answers", b"{}")
    assert response.status == 400 and "completion" not in json.loads(told)
    server.shutdown()
    server.server_close()

    (folder / "sent.jsonl").write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")
    _, refused = read_answers(folder / "sent.jsonl", key)
    assert refused == [("sent.jsonl, line 2", "a duplicate of sent.jsonl, line 1")]


def test_answers_that_arrive_together_are_stored_on_lines_of_their_own(served):
    key, before = read_key(served[1]), len(stored(served))
    everyone = [Listener(100 + n, "a", 0.7).answers(key, n % 48) for n in range(24)]

    def send(answers):
        return request(served, "POST", "/answers", json.dumps(answers).encode())[0].status

    with ThreadPoolExecutor(len(everyone)) as pool:
        assert set(pool.map(send, everyone)) == {201}
    lines = [json.loads(line) for line in stored(served)[before:]]
    assert sorted(each["listener"] for each in lines) == sorted(e["listener"] for e in everyone)


def test_a_hundred_connections_can_wait_for_a_busy_server(tmp_path):
    build_in(tmp_path)
    server = make_server(tmp_path / "listening", "127.0.0.1", 0)  # accepts no connection yet
    with contextlib.ExitStack() as stack:
        waiting = [
            stack.enter_context(socket.create_connection(server.server_address[:2], timeout=60))
            for _ in range(100)
        ]
        for connection in waiting:
            connection.sendall(b"GET /page.css HTTP/1.1\r\nHost: here\r\n\r\n")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert all(each.recv(100).startswith(b"HTTP/1.1 200 ") for each in waiting)
    server.shutdown()
    server.server_close()


def test_a_line_cut_short_by_a_crash_affects_no_other_line(tmp_path):
    build_in(tmp_path)
    key = read_key(tmp_path / "listening")
    first, second = (Listener(n, "a", 0.7).answers(key, n) for n in range(2))
    path = tmp_path / "listening" / "answers.jsonl"
    path.write_text(json.dumps(first) + "\n" + json.dumps(second)[:50])
    server = make_server(tmp_path / "listening", "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    here = (server, tmp_path / "listening")
    assert request(here, "POST", "/answers", json.dumps(first).encode())[0].status == 409
    assert request(here, "POST", "/answers", json.dumps(second).encode())[0].status == 201
    server.shutdown()
    server.server_close()
    accepted, refused = read_answers(path, key)
    assert accepted == [first, second] and [where for where, _ in refused] == [
        "answers.jsonl, line 2"
    ]


def test_nothing_is_printed_when_a_listener_leaves(served, capfd):
    threads = set(threading.enumerate())
    with socket.create_connection(served[0].server_address[:2]) as connection:
        connection.sendall(b"GET /page.css HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # The thread of the connection ends when the reset reaches it.
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    assert capfd.readouterr().err == ""


def test_a_client_that_sends_nothing_blocks_no_other(served):
    with socket.create_connection(served[0].server_address[:2]):
        assert request(served, "GET", "/page.css")[0].status == 200
