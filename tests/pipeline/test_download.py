"""Downloads from a real HTTP server that breaks off, stalls and lies; and hostile archives."""

import contextlib
import errno
import hashlib
import http.client
import io
import itertools
import shutil
import ssl
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from pipeline import download
from pipeline.digests import sha256
from pipeline.download import fetch, read_archive
from pipeline.errors import RecipeError

CONTENTS = np.random.default_rng(0).bytes(3_000_000)
DIGEST = hashlib.sha256(CONTENTS).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENTS everywhere but at /absent. Each request takes one of the server's faults."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        fault = server.faults.pop(0) if server.faults else None
        if self.path == "/absent":
            return self.send_error(404, "Not Found")
        if isinstance(fault, int) and fault >= 400:
            return self.send_error(fault)
        start = int(asked[len("bytes=") : -1]) if asked and fault != "no ranges" else 0
        if start >= len(CONTENTS):
            return self.send_error(416, "Range Not Satisfiable")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENTS) - start))
        self.end_headers()
        contents = CONTENTS[::-1] if fault == "wrong bytes" else CONTENTS
        if fault in ("break off", "stall", "go away"):
            self.wfile.write(contents[start : start + 500_000])
            self.wfile.flush()
            if fault == "stall":
                server.stalling.wait(10)
            if fault == "go away":
                server.shutdown()
                server.server_close()
            return None
        with contextlib.suppress(ConnectionError):  # the client may have closed the connection
            self.wfile.write(contents[start:])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "_PAUSES", (0.01, 0.02, 0.04))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.faults, server.stalling = [], [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/archive"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.stalling.set()
    server.shutdown()
    server.server_close()


def test_broken_connections_are_resumed(server, tmp_path, capsys):
    """Five breaks with half a megabyte each are more than the attempts without a new byte."""
    path = tmp_path / "archive"
    server.faults = ["break off"] * 5
    fetch([server.url], path, DIGEST)
    assert path.read_bytes() == CONTENTS
    assert server.ranges == [None, *(f"bytes={n}-" for n in range(500_000, 3_000_000, 500_000))]
    assert (
        "the connection ended after 500000 of 3000000 bytes; trying again in"
        in capsys.readouterr().out
    )
    fetch([server.url], path, DIGEST)
    assert len(server.ranges) == 6, "a verified file is not fetched again"
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]


def test_data_that_arrived_is_kept_for_the_next_call(server, tmp_path):
    path = tmp_path / "archive"
    server.faults = ["break off", 503, 503, 503, 503]
    with pytest.raises(RecipeError, match="failed after 0.5 MB: the server answered 503.*resumes"):
        fetch([server.url], path, DIGEST)
    assert not path.exists()
    fetch([server.url], path, DIGEST)
    assert path.read_bytes() == CONTENTS and server.ranges[-1] == "bytes=500000-"


def test_a_server_that_stalls_is_asked_again(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "_SECONDS_WITHOUT_DATA", 2.0)
    server.faults = ["stall", 503]
    fetch([server.url], tmp_path / "archive", DIGEST)
    assert (tmp_path / "archive").read_bytes() == CONTENTS
    printed = capsys.readouterr().out
    assert "no data arrived for 2.0 s; trying again" in printed and "answered 503" in printed
    assert server.ranges == [None, "bytes=500000-", "bytes=500000-"]


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    (tmp_path / "archive.partial").write_bytes(b"other bytes" * 1000)
    server.faults = ["no ranges"]
    fetch([server.url], tmp_path / "archive", DIGEST)
    assert (tmp_path / "archive").read_bytes() == CONTENTS


def test_a_complete_partial_file_is_verified_and_used(server, tmp_path):
    (tmp_path / "archive.partial").write_bytes(CONTENTS)
    fetch([server.url], tmp_path / "archive", DIGEST)
    assert sha256(tmp_path / "archive") == DIGEST


def test_wrong_bytes_are_not_kept(server, tmp_path):
    with pytest.raises(RecipeError, match=f"SHA-256 is {DIGEST} instead of {'0' * 64}"):
        fetch([server.url], tmp_path / "archive", "0" * 64)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "archive.partial").write_bytes(b"x" * 1000)
    with pytest.raises(RecipeError, match="was deleted"):
        fetch([server.url], tmp_path / "archive", DIGEST)
    fetch([server.url], tmp_path / "archive", DIGEST)


def test_mirrors_are_tried_in_turn(server, tmp_path):
    server.faults = [None, "wrong bytes"]
    absent = server.url.replace("archive", "absent")
    fetch([absent, server.url, server.url], tmp_path / "archive", DIGEST)
    assert (tmp_path / "archive").read_bytes() == CONTENTS and len(server.ranges) == 3


def test_every_server_without_the_file_or_an_answer_is_reported(server, tmp_path):
    absent = server.url.replace("archive", "absent")
    with pytest.raises(RecipeError, match="answered 404 Not Found"):
        fetch([absent], tmp_path / "archive", DIGEST)
    assert len(server.ranges) == 1, "404 is permanent"
    server.shutdown()
    server.server_close()
    with pytest.raises(RecipeError, match="cannot be reached: .*Connection refused.*\n.*/absent"):
        fetch([server.url, absent], tmp_path / "archive", DIGEST)


def test_a_full_disk_is_reported_before_a_byte_is_written(server, tmp_path, monkeypatch):
    full = type(shutil.disk_usage(tmp_path))(10**9, 10**9, 2_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    with pytest.raises(RecipeError, match="the disk is full: .* about 3 MB are needed there"):
        fetch([server.url, server.url], tmp_path / "archive", DIGEST)
    assert list(tmp_path.iterdir()) == [] and len(server.ranges) == 1, "no mirror would help"


@pytest.mark.parametrize(
    "error", [OSError(errno.EHOSTUNREACH, "No route to host"), ssl.SSLError(1, "bad record mac")]
)
def test_every_failure_of_the_network_is_tried_again(server, tmp_path, monkeypatch, capsys, error):
    """The socket of a real response fails after the first block."""
    read1, reads = http.client.HTTPResponse.read1, itertools.count()

    def failing(response, size):
        if next(reads) == 1:
            raise error
        return read1(response, size)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", failing)
    fetch([server.url], tmp_path / "archive", DIGEST)
    assert (tmp_path / "archive").read_bytes() == CONTENTS
    assert f"{error}; trying again in" in capsys.readouterr().out
    assert len(server.ranges) == 2 and server.ranges[1]


def test_a_failure_of_the_disk_is_not_tried_again(server, tmp_path):
    (tmp_path / "archive.partial").mkdir()
    with pytest.raises(IsADirectoryError):
        fetch([server.url], tmp_path / "archive", DIGEST)


def test_a_server_that_is_down_for_a_while_is_waited_for(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "_PAUSES", (0.05,) * 200)
    back = ThreadingHTTPServer(server.server_address, Handler, bind_and_activate=False)
    back.ranges, back.faults = [], []

    def come_back():
        back.server_bind()
        back.server_activate()
        back.serve_forever(0.02)

    pauses, sleep = [], time.sleep

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:  # the first follows the broken stream, the second a refused connection
            threading.Thread(target=come_back, daemon=True).start()
        sleep(seconds)

    monkeypatch.setattr(download.time, "sleep", pause)
    server.faults = ["go away"]
    fetch([server.url], tmp_path / "archive", DIGEST)
    back.shutdown()
    back.server_close()
    assert (tmp_path / "archive").read_bytes() == CONTENTS
    assert "Connection refused" in capsys.readouterr().out
    assert back.ranges == ["bytes=500000-"]


@pytest.mark.parametrize("size", [1000, len(CONTENTS), 4_000_000])
def test_without_a_checksum_no_part_of_an_earlier_call_is_trusted(server, tmp_path, size):
    (tmp_path / "archive.partial").write_bytes(b"x" * size)
    server.faults = ["break off"]
    fetch([server.url], tmp_path / "archive", None)
    assert (tmp_path / "archive").read_bytes() == CONTENTS
    assert server.ranges == [None, "bytes=500000-"], "within one call, all parts belong to one file"


def test_without_a_checksum_no_message_promises_to_resume(server, tmp_path):
    server.faults = ["break off", 503, 503, 503, 503]
    with pytest.raises(RecipeError, match="503 .*Run the same command again$"):
        fetch([server.url], tmp_path / "archive", None)


def test_processes_that_fetch_the_same_file_wait_for_each_other(server, tmp_path):
    server.faults = ["break off"] * 3
    folder = tmp_path / "shared"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch([server.url], folder / "archive", DIGEST), range(4)))
    assert (folder / "archive").read_bytes() == CONTENTS
    assert len(server.ranges) == 4, "three breaks and the rest: it is fetched once"
    assert [path.name for path in folder.iterdir()] == ["archive"]


def hostile(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry, io.BytesIO())
    return path


@pytest.mark.parametrize(
    "name, kind, message",
    [
        ("../../outside.wav", tarfile.REGTYPE, "points outside"),
        ("/absolute.wav", tarfile.REGTYPE, "points outside"),
        ("wavs/link.wav", tarfile.SYMTYPE, "not a plain file"),
        ("wavs/hard.wav", tarfile.LNKTYPE, "not a plain file"),
        ("wavs/device.wav", tarfile.CHRTYPE, "not a plain file"),
    ],
)
def test_hostile_archives_are_refused(tmp_path, name, kind, message):
    archive = hostile(tmp_path / "a.tar.gz", name, kind)
    with pytest.raises(RecipeError, match=message):
        list(read_archive(archive, lambda path: path.suffix == ".wav"))


def cut(contents: bytes) -> bytes:
    return contents[: len(contents) // 2]


def overwrite(contents: bytes) -> bytes:
    middle = len(contents) // 2
    return contents[:middle] + b"\xff" * 1000 + contents[middle + 1000 :]


@pytest.mark.parametrize(
    "suffix, damage",
    [("bz2", cut), ("gz", cut), ("xz", cut), ("", cut), ("gz", overwrite), ("xz", overwrite)],
)
def test_damaged_archives_are_reported(tmp_path, suffix, damage):
    path = tmp_path / "a.tar"
    with tarfile.open(path, f"w:{suffix}") as tar:
        entry = tarfile.TarInfo("a.wav")
        entry.size = 300_000
        tar.addfile(entry, io.BytesIO(CONTENTS[:300_000]))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecipeError, match="a.tar is damaged"):
        list(read_archive(path, lambda path: True))
