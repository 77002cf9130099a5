"""Downloads from a real HTTP server: resumed, verified, broken off; and hostile archives."""

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from preprocessing.download import fetch, read_archive, sha256
from preprocessing.errors import RecipeError

CONTENTS = np.random.default_rng(0).bytes(3_000_000)
DIGEST = hashlib.sha256(CONTENTS).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if self.path != "/archive":
            return self.send_error(404, "Not Found")
        start = int(asked[len("bytes=") : -1]) if asked and server.supports_ranges else 0
        if start >= len(CONTENTS):
            return self.send_error(416, "Range Not Satisfiable")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENTS) - start))
        self.end_headers()
        self.wfile.write(CONTENTS[start : server.breaks_off_at or len(CONTENTS)])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.supports_ranges, server.breaks_off_at = [], True, None
    server.url = f"http://127.0.0.1:{server.server_port}/archive"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_download_goes_on_where_it_broke_off(server, tmp_path):
    path = tmp_path / "archive"
    server.breaks_off_at = 1_234_567
    with pytest.raises(RecipeError, match="failed after 1.2 MB.*goes on from there"):
        fetch(server.url, path, DIGEST)
    assert not path.exists()
    server.breaks_off_at = None
    fetch(server.url, path, DIGEST)
    assert path.read_bytes() == CONTENTS
    assert server.ranges == [None, "bytes=1234567-"]
    fetch(server.url, path, DIGEST)
    assert len(server.ranges) == 2, "a verified file is not fetched again"
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    (tmp_path / "archive.partial").write_bytes(b"other bytes" * 1000)
    server.supports_ranges = False
    fetch(server.url, tmp_path / "archive", DIGEST)
    assert (tmp_path / "archive").read_bytes() == CONTENTS


def test_a_finished_partial_file_is_verified_and_taken(server, tmp_path):
    (tmp_path / "archive.partial").write_bytes(CONTENTS)
    fetch(server.url, tmp_path / "archive", DIGEST)
    assert sha256(tmp_path / "archive") == DIGEST


def test_wrong_bytes_are_not_kept(server, tmp_path):
    with pytest.raises(RecipeError, match=f"SHA-256 is {DIGEST} where {'0' * 64} was expected"):
        fetch(server.url, tmp_path / "archive", "0" * 64)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "archive.partial").write_bytes(b"x" * 1000)
    with pytest.raises(RecipeError, match="was deleted"):
        fetch(server.url, tmp_path / "archive", DIGEST)
    fetch(server.url, tmp_path / "archive", DIGEST)


def test_servers_that_do_not_have_it_or_do_not_answer(server, tmp_path):
    with pytest.raises(RecipeError, match="answered 404 Not Found"):
        fetch(server.url + "s", tmp_path / "archive", DIGEST)
    server.shutdown()
    server.server_close()
    with pytest.raises(RecipeError, match="Connection refused"):
        fetch(server.url, tmp_path / "archive", DIGEST)


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


def test_damaged_archives_are_told(tmp_path):
    path = tmp_path / "a.tar.bz2"
    with tarfile.open(path, "w:bz2") as tar:
        entry = tarfile.TarInfo("a.wav")
        entry.size = 1_000_000
        tar.addfile(entry, io.BytesIO(CONTENTS[:1_000_000]))
    path.write_bytes(path.read_bytes()[:500_000])
    with pytest.raises(RecipeError, match="a.tar.bz2 is damaged"):
        for _, _, file in read_archive(path, lambda path: True):
            file.read()
