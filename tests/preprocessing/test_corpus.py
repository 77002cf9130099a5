"""Stage 1 on the real corpora, and its messages about faulty recordings and metadata."""

import csv
import functools
import gzip
import io
import os
import shutil
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import PROJECT, run_script

from audio.wav import check_wavs, read_wav
from pipeline.digests import sha256
from pipeline.errors import FaultsError, RecipeError
from preprocessing.corpus.metadata import read_metadata


@pytest.fixture(scope="module")
def corpus(prepared) -> Path:
    data = next(o.removeprefix("paths.data=") for o in prepared if o.startswith("paths.data="))
    return Path(data) / "corpus"


def test_allison_is_complete_and_each_dropped_prompt_has_a_reason(corpus):
    utterances = read_metadata(corpus / "metadata.csv")
    assert len(utterances) == 551 == len(list((corpus / "wavs").glob("*.wav")))
    with open(corpus / "dropped.csv", newline="") as file:
        dropped = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert len(dropped) == 18
    assert dropped["pls-try-call-later"] == "has a text but no recording"
    assert dropped["silence-3"] == "is not speech: its text is '(3 seconds of silence)'"
    seconds = sum(soundfile.info(corpus / "wavs" / f"{u.id}.wav").duration for u in utterances)
    assert seconds / 60 == pytest.approx(24.2, abs=0.1)
    text = {utterance.id: utterance.text for utterance in utterances}
    assert text["letters-at"] == "at"
    assert text["vm-Cust1"] == "folder five"


def test_resampling_keeps_the_speech(corpus):
    """The result has the length of its source, and hardly any energy above its 8 kHz."""
    waveform = read_wav(corpus / "wavs" / "demo-congrats.wav")
    spectrum = np.abs(np.fft.rfft(waveform)) ** 2
    hertz = np.fft.rfftfreq(len(waveform), 1 / 22050)
    assert spectrum[hertz > 8100].sum() < 1e-4 * spectrum.sum()
    assert len(waveform) / 22050 == pytest.approx(30.28, abs=0.01)


def test_all_faulty_recordings_are_named_at_once(tmp_path):
    wavs = tmp_path / "wavs"
    wavs.mkdir()
    tone = np.sin(np.arange(22050) / 20).astype(np.float32) * 0.3
    soundfile.write(wavs / "good.wav", tone, 22050)
    soundfile.write(wavs / "slow.wav", tone, 16000)
    soundfile.write(wavs / "stereo.wav", np.stack([tone, tone], 1), 22050)
    soundfile.write(wavs / "empty.wav", tone[:0], 22050)
    (wavs / "corrupt.wav").write_bytes(b"RIFF and then nothing of the kind")
    ids = ["good", "slow", "stereo", "empty", "corrupt", "absent"]
    with pytest.raises(FaultsError) as caught:
        check_wavs(tmp_path, ids)
    message = str(caught.value)
    assert len(caught.value.faults) == 5 and "good.wav" not in message
    for expected in (
        "slow.wav: has a sample rate of 16000 Hz where 22050 Hz are needed",
        "stereo.wav: has 2 channels where 1 is needed",
        "empty.wav: holds no samples",
        "corrupt.wav: cannot be read as audio",
        "absent.wav: does not exist",
        "sox in.wav -r 22050 -c 1",
    ):
        assert expected in message
    with pytest.raises(RecipeError, match="stereo.wav has 2 channels"):
        read_wav(wavs / "stereo.wav")


def test_all_faulty_lines_of_metadata_are_named_at_once(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text('a|"Quoted," he said.|"Quoted," he said.\nb|one\nb|two\nc||\nd\n')
    with pytest.raises(FaultsError) as caught:
        read_metadata(path)
    names = [name for name, _ in caught.value.faults]
    assert names == ["b", "c", "line 5"]
    path.write_text('a|"Quoted," he said.|"Quoted," he said.\n')
    assert read_metadata(path)[0].text == '"Quoted," he said.'


def stage(name, prepared, folder, *overrides):
    return run_script(name, *prepared, f"paths.data={folder}", *overrides)


def test_a_selection_of_prompts(prepared, tmp_path):
    done = stage("stage1_download", prepared, tmp_path, "corpus.only=[hello-world,beep,goodbye]")
    assert done.returncode == 0, done.stderr
    assert [u.id for u in read_metadata(tmp_path / "corpus" / "metadata.csv")] == (
        ["goodbye", "hello-world"]
    )
    assert "beep" in (tmp_path / "corpus" / "dropped.csv").read_text()
    wrong = stage("stage1_download", prepared, tmp_path, "corpus.only=[hello-wurld]")
    assert wrong.returncode == 1
    assert "corpus.only names utterances that are not there: hello-wurld" in wrong.stderr
    assert len(read_metadata(tmp_path / "corpus" / "metadata.csv")) == 2, "the corpus is kept"


def test_hydra_reports_misspelt_overrides():
    done = run_script("stage1_download", "corpus.onely=[hello-world]")
    assert done.returncode == 1 and "did you mean corpus.only?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_with_files_of_the_user_is_not_emptied(prepared, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "thesis.txt").write_text("years of work")
    done = stage("stage1_download", prepared, tmp_path)
    assert done.returncode == 1 and "holds files that this recipe did not write" in done.stderr
    assert (tmp_path / "corpus" / "thesis.txt").exists()


def ljspeech_archive(path: Path, corpus: Path, extra: tarfile.TarInfo | None = None) -> Path:
    """Write a small archive in LJSpeech's layout, with five of our recordings under its ids."""
    recordings = ["hello-world", "demo-nogo", "goodbye", "tt-weasels", "silent"]
    lines = []
    with tarfile.open(path, "w:bz2") as tar:
        for number, name in enumerate(recordings, 1):
            id = f"LJ001-{number:04d}"
            if name == "silent":
                buffer = io.BytesIO()
                soundfile.write(buffer, np.zeros(22050, np.float32), 22050, format="WAV")
                contents = buffer.getvalue()
            else:
                contents = (corpus / "wavs" / f"{name}.wav").read_bytes()
            entry = tarfile.TarInfo(f"LJSpeech-1.1/wavs/{id}.wav")
            entry.size = len(contents)
            tar.addfile(entry, io.BytesIO(contents))
            lines.append(f'{id}|Text "{number}"|Text number {number}, and some more words.')
        metadata = "\n".join(lines).encode()
        entry = tarfile.TarInfo("LJSpeech-1.1/metadata.csv")
        entry.size = len(metadata)
        tar.addfile(entry, io.BytesIO(metadata))
        if extra:
            tar.addfile(extra)
    return path


def serve(folder: Path) -> ThreadingHTTPServer:
    """Serve a folder over HTTP."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_ljspeech_is_fetched_from_a_mirror_by_the_same_command(corpus, tmp_path):
    archive = ljspeech_archive(tmp_path / "mirrored.tar.bz2", corpus)
    server = serve(tmp_path)
    overrides = ["corpus=ljspeech", f"paths.data={tmp_path}", "corpus.source.clips=5"]
    overrides += ["corpus.source.archive.url=http://127.0.0.1:9/LJSpeech-1.1.tar.bz2"]
    mirror = f"http://127.0.0.1:{server.server_port}/mirrored.tar.bz2"
    overrides += [f"corpus.source.archive.mirrors=[{mirror}]"]
    checksum = f"corpus.source.archive.sha256={sha256(archive)}"
    done = run_script("stage1_download", *overrides, checksum)
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    utterances = read_metadata(tmp_path / "corpus" / "metadata.csv")
    assert [u.id for u in utterances] == [f"LJ001-{n:04d}" for n in range(1, 5)]
    assert utterances[1].raw == 'Text "2"'
    assert utterances[1].text == "Text number two, and some more words."
    dropped = (tmp_path / "corpus" / "dropped.csv").read_text()
    assert "LJ001-0005,is silent" in dropped
    original = soundfile.read(corpus / "wavs" / "demo-nogo.wav")[0]
    copy = soundfile.read(tmp_path / "corpus" / "wavs" / "LJ001-0002.wav")[0]
    np.testing.assert_array_equal(original, copy)


def test_a_copy_of_ljspeech_is_linked_to_and_its_differences_are_listed(corpus, tmp_path):
    with tarfile.open(ljspeech_archive(tmp_path / "a.tar.bz2", corpus)) as tar:
        tar.extractall(tmp_path, filter="data")
    mine = tmp_path / "LJSpeech-1.1"
    overrides = ["corpus=ljspeech", f"paths.data={tmp_path}", f"corpus.source.folder={mine}"]
    shutil.copy(mine / "wavs" / "LJ001-0001.wav", mine / "wavs" / "LJ099-0001.wav")
    missing = (mine / "wavs" / "LJ001-0003.wav").rename(tmp_path / "elsewhere.wav")
    done = run_script("stage1_download", *overrides)
    assert done.returncode == 1
    for expected in (
        "LJ001-0003: has a row in metadata.csv but no recording",
        "LJ099-0001: has a recording but no row in metadata.csv",
        "metadata.csv: has 5 rows where 13100 are expected",
    ):
        assert expected in done.stderr
    missing.rename(mine / "wavs" / "LJ001-0003.wav")
    (mine / "wavs" / "LJ099-0001.wav").unlink()
    done = run_script("stage1_download", *overrides, "corpus.source.clips=null")
    assert done.returncode == 0, done.stderr
    assert "4 utterances" in done.stdout
    wavs = sorted((tmp_path / "corpus" / "wavs").iterdir())
    assert len(wavs) == 4 and all(path.is_symlink() for path in wavs)
    assert len(list((mine / "wavs").iterdir())) == 5, "the copy keeps the silent clip"

    (mine / "metadata.csv").unlink()
    done = run_script("stage1_download", *overrides, "corpus.source.clips=5")
    assert done.returncode == 1 and "has no metadata.csv: name the folder" in done.stderr


def test_allison_is_fetched_from_the_asterisk_project_without_apt(prepared, tmp_path):
    """A real HTTP server serves the archive. Altered recordings are reported."""
    unpacked = PROJECT / "data" / "allison" / "downloads" / "unpacked"
    listing = next(unpacked.rglob("core-sounds-en.txt*"))  # Debian's package compresses it.
    texts = listing.read_bytes() if listing.suffix == ".txt" else gzip.open(listing).read()
    root = next(unpacked.rglob("activated.g722")).parent
    folder = tmp_path / "served"
    folder.mkdir()

    def archive(recordings: dict[str, Path]) -> None:
        with tarfile.open(folder / "sounds.tar.gz", "w:gz", compresslevel=1) as tar:
            entry = tarfile.TarInfo("./core-sounds-en.txt")
            entry.size = len(texts)
            tar.addfile(entry, io.BytesIO(texts))
            for name, path in recordings.items():
                tar.add(path, f"./{name}")

    archive({str(path.relative_to(root)): path for path in sorted(root.rglob("*.g722"))})
    # One of Debian's two packages was unpacked, and the other could not be downloaded.
    half = tmp_path / "downloads" / "unpacked" / "usr" / "share" / "sounds"
    half.mkdir(parents=True)
    shutil.copy(root / "activated.g722", half)
    server = serve(folder)
    overrides = [f"paths.data={tmp_path}", "corpus.only=[hello-world]"]
    overrides += [f"corpus.source.archive.url=http://127.0.0.1:{server.server_port}/sounds.tar.gz"]
    without_apt = os.environ | {"PATH": str(tmp_path)}
    done = run_script("stage1_download", *overrides, env=without_apt)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "corpus" / "wavs" / "hello-world.wav").read_bytes() == (
        Path(prepared[0].removeprefix("paths.data=")) / "corpus" / "wavs" / "hello-world.wav"
    ).read_bytes()

    altered = next((tmp_path / "downloads" / "unpacked").rglob("hello-world.g722"))
    altered.write_bytes(altered.read_bytes()[::-1])
    archive({"hello-world.g722": altered})
    (tmp_path / "downloads" / "sounds.tar.gz").unlink()
    shutil.rmtree(tmp_path / "corpus")
    done = run_script("stage1_download", *overrides, env=without_apt)
    assert done.returncode == 1 and "are not the expected ones" in done.stderr
    server.shutdown()
    server.server_close()
    shutil.rmtree(tmp_path / "downloads")
    done = run_script("stage1_download", *overrides, env=without_apt)
    assert done.returncode == 1
    for expected in (
        "apt-get and dpkg are not on this machine",
        "Connection refused",
        "g722_1.6.1-1",
    ):
        assert expected in done.stderr
