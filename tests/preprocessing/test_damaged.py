"""Recordings that are cut short or contain NaN, and full disks."""

import resource
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import changed
from intake import TEXTS, ljspeech_corpus, table_corpus, tone

from audio.wav import check_wavs, read_wav
from pipeline.disk import bytes_in, disk_space
from pipeline.errors import FaultsError, RecipeError, UtteranceError
from pipeline.files import write_array
from preprocessing.alignment.align import align
from preprocessing.corpus.build import build_corpus
from preprocessing.corpus.recordings import decode, duration


def halve(path: Path) -> None:
    """Cut a file to half its length."""
    contents = path.read_bytes()
    path.write_bytes(contents[: len(contents) // 2])


def with_nan(path: Path) -> None:
    """Write a recording with a sample that is not a number."""
    waveform = tone()
    waveform[100] = np.nan
    soundfile.write(path, waveform, 22050, subtype="FLOAT")


def in_16_bit_scale(path: Path) -> None:
    """Write a recording of floats that were not divided by 32768."""
    soundfile.write(path, 32768 * tone(), 22050, subtype="FLOAT")


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_recordings_that_are_cut_short_or_not_finite_are_reported(tmp_path, subtype):
    (tmp_path / "wavs").mkdir()
    for name in ("good", "cut", "nan"):
        soundfile.write(tmp_path / "wavs" / f"{name}.wav", tone(), 22050, subtype=subtype)
    halve(tmp_path / "wavs" / "cut.wav")
    with_nan(tmp_path / "wavs" / "nan.wav")
    with pytest.raises(FaultsError) as caught:
        check_wavs(tmp_path, ["good", "cut", "nan"])
    assert [Path(name).stem for name, _ in caught.value.faults] == ["cut", "nan"]
    reasons = [reason for _, reason in caught.value.faults]
    assert reasons[0].startswith("is cut short: ") and "not numbers" in reasons[1]
    for name in ("cut", "nan"):
        with pytest.raises(UtteranceError) as caught:
            read_wav(tmp_path / "wavs" / f"{name}.wav")
        assert caught.value.kind == "wav_unreadable"


@pytest.mark.parametrize("kind", ["RF64", "W64", "AU", "AIFF", "MP3", "FLAC", "OGG", "CAF"])
def test_other_formats_that_are_cut_short_are_reported(tmp_path, kind):
    path = tmp_path / f"a.{kind.lower()}"
    soundfile.write(path, tone(), 22050, format=kind)
    duration(path)
    assert abs(len(decode(path)[0]) - len(tone())) < 1200  # MP3 has whole frames of samples.
    halve(path)
    with pytest.raises(RecipeError, match="cut short|damaged|cannot be read"):
        duration(path)
        decode(path)


@pytest.mark.parametrize("kind", ["WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT"])
def test_wide_headers_and_samples_are_read(tmp_path, kind, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 22050, format=kind, subtype=subtype)
    assert np.allclose(read_wav(path), tone(), atol=1e-6)


def test_a_wav_from_a_pipe_is_accepted_without_a_stated_length(tmp_path):
    """`ffmpeg -f wav -` writes such files."""
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 22050)
    contents = bytearray(path.read_bytes())
    for length in (0xFFFFFFFF, 0x7FFFF000):
        contents[4:8] = contents[40:44] = struct.pack("<I", length)
        path.write_bytes(contents)
        assert len(read_wav(path)) == len(tone())


@pytest.mark.parametrize("damage", [halve, with_nan, in_16_bit_scale])
@pytest.mark.parametrize("make", [table_corpus, ljspeech_corpus])
def test_stage_1_refuses_damaged_recordings(tmp_path, make, damage):
    config = make(tmp_path)
    wav = next(tmp_path.rglob("two.wav"))
    damage(wav)
    with pytest.raises(RecipeError, match=f"{wav}:? .*(cut short|not numbers|full scale)"):
        build_corpus(config)
    soundfile.write(wav, tone(), 22050)
    build_corpus(config)
    assert len(list((Path(config.paths.corpus) / "wavs").iterdir())) == len(TEXTS)


@contextmanager
def full_disk(size: int):
    """Limit the size of this process's files in bytes, which the kernel reports as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_while_recordings_are_written_is_named(tmp_path):
    config = table_corpus(tmp_path)
    with full_disk(20_000), pytest.raises(RecipeError, match="the disk is full: .*goes on where"):
        build_corpus(config)
    assert list((Path(config.paths.corpus) / "wavs").iterdir()) == []


def test_a_disk_that_fills_while_arrays_are_written_is_named(tmp_path):
    with full_disk(20_000), pytest.raises(RecipeError, match="the disk is full: "):
        with disk_space(tmp_path, 0):
            write_array(tmp_path / "phones.npy", np.ones(30_000, np.uint8))
    assert list(tmp_path.iterdir()) == []
    write_array(tmp_path / "phones.npy", np.array([1, 2, 3], np.uint8))
    assert np.load(tmp_path / "phones.npy", mmap_mode="c").tolist() == [1, 2, 3]


def test_a_disk_that_fills_while_viter_gets_its_recordings_is_named(tmp_path):
    config = table_corpus(tmp_path)
    build_corpus(config)
    viter = {"name": "viter", "training_minutes": 1, "triphones": False, "seed": 0}
    config = changed(config, aligner=viter)
    with full_disk(20_000), pytest.raises(RecipeError, match="the disk is full: "):
        align(config)


def leave_free(monkeypatch, size: int) -> None:
    """Pretend that the disk has this many bytes left."""
    usage = type(shutil.disk_usage("/"))(10**9, 10**9 - size, size)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)


def test_files_that_exist_need_no_further_space(tmp_path, monkeypatch):
    """Stage 1 stopped before its last recording. A recording takes 66 kB."""
    config = table_corpus(tmp_path)
    leave_free(monkeypatch, 70_000)
    with pytest.raises(RecipeError, match="the disk is full"):
        build_corpus(config)
    leave_free(monkeypatch, 10**9)
    build_corpus(config)
    folder = Path(config.paths.corpus)
    assert bytes_in(folder) > 3 * 66_000
    (folder / "wavs" / "one.wav").unlink()
    leave_free(monkeypatch, 70_000)
    build_corpus(config)
    assert (folder / "wavs" / "one.wav").exists()
    assert not list(folder.rglob("*.partial*"))


def test_links_take_no_space(tmp_path):
    (tmp_path / "wavs").mkdir()
    soundfile.write(tmp_path / "a.wav", tone(), 22050)
    (tmp_path / "wavs" / "a.wav").symlink_to(tmp_path / "a.wav")
    assert bytes_in(tmp_path / "wavs") == 0 and bytes_in(tmp_path / "absent") == 0


def test_all_damaged_recordings_of_a_table_are_reported_at_once(tmp_path):
    config = table_corpus(tmp_path, TEXTS | {"four": "Thank you.", "five": "One more time."})
    for name in ("two", "four"):
        with_nan(tmp_path / f"{name}.wav")
    with pytest.raises(FaultsError, match="converting the recordings: 2 faults(.|\n)*four.wav: h"):
        build_corpus(config)
    soundfile.write(tmp_path / "one.wav", tone(0), 22050)
    halve(tmp_path / "five.wav")
    with pytest.raises(
        FaultsError, match="2 faults(.|\n)*one.wav: holds no s(.|\n)*five.wav: is c"
    ):
        build_corpus(config)


def test_all_undecodable_recordings_are_reported_at_once(tmp_path):
    """FLAC files named .wav, which LJSpeech's layout accepts, are damaged after their header."""
    config = ljspeech_corpus(tmp_path)
    for name in TEXTS:
        soundfile.write(tmp_path / "wavs" / f"{name}.wav", tone(), 22050, format="FLAC")
    for name in ("one", "three"):
        path = tmp_path / "wavs" / f"{name}.wav"
        contents = bytearray(path.read_bytes())
        contents[len(contents) // 2 :] = bytes(len(contents) - len(contents) // 2)
        path.write_bytes(contents)
    with pytest.raises(FaultsError, match="screening: 2 faults") as caught:
        build_corpus(config)
    assert [name for name, _ in caught.value.faults] == ["one", "three"]
