"""`make say` writes what it speaks, and speaks what was edited."""

import json

import numpy as np
import pytest
import soundfile
from conftest import composed
from speech_cases import random_run, run_config

from pipeline.errors import RecipeError
from speech.commands import say
from speech.prosody import read_prosody


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    random_run(folder)
    return folder


@pytest.fixture(scope="module", params=["json", "csv"])
def dumped(folder, request):
    """The files of a text that was spoken: the wav and its phones."""
    wav, prosody = folder / f"{request.param}.wav", folder / f"a.{request.param}"
    text = "say.text='Hello world. Hello, world.'"
    speak(folder, wav, text, f"say.dump={prosody}", "say.pitch=1.1")
    return wav, prosody


def speak(folder, output, *overrides: str) -> np.ndarray:
    say(run_config(folder, f"say.output={output}", "vocoder=griffin_lim", *overrides))
    return soundfile.read(output)[0]


def test_what_was_written_is_spoken_again(folder, dumped, tmp_path):
    wav, prosody = dumped
    again = speak(
        folder, tmp_path / "b.wav", f"say.prosody={prosody}", f"say.dump={tmp_path / 'b.json'}"
    )
    np.testing.assert_allclose(again, soundfile.read(wav)[0], atol=2e-3)
    first, second = (read_prosody(path) for path in (prosody, tmp_path / "b.json"))
    assert [len(row) for row in first] == [8, 9]
    for one, other in zip(sum(first, []), sum(second, []), strict=True):
        assert one.phone == other.phone and one.duration == pytest.approx(other.duration)
        assert one.f0 == pytest.approx(other.f0, rel=1e-4)
        assert one.energy == pytest.approx(other.energy, rel=1e-4)


def test_edited_phones_are_spoken_as_they_are_given(folder, dumped, tmp_path):
    rows = [[vars(phone) for phone in row] for row in read_prosody(dumped[1])]
    rows = rows[:1]
    rows[0][2] |= {"duration": 40 * 256 / 22050, "f0": 180.0, "energy": 12.5}
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(rows), "utf-8")
    samples = speak(
        folder, tmp_path / "c.wav", f"say.prosody={path}", f"say.dump={tmp_path / 'c.json'}"
    )
    frames = sum(round(row["duration"] * 22050 / 256) for row in rows[0])
    assert abs(len(samples) / 256 - frames) <= 1
    spoken = read_prosody(tmp_path / "c.json")[0][2]
    assert (spoken.f0, spoken.energy) == pytest.approx((180.0, 12.5), rel=1e-4)


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"duration": 0.1, "f0": 200, "energy": 5}, "has no name in `phone`"),
        (
            {"phone": "AH0", "duration": -0.1, "f0": 200, "energy": 5},
            "duration -0.1, which is too",
        ),
        ({"phone": "AH0", "duration": 0.1, "f0": 0, "energy": 5}, "the f0 0, which is too low"),
        ({"phone": "AH0", "duration": 0.1, "f0": "high", "energy": 5}, "the f0 high, which is no"),
        ({"phone": "AH0", "duration": 0.1, "f0": 200}, "the energy None, which is no number"),
    ],
)
def test_faults_are_named(tmp_path, entry, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([[{"phone": "N", "duration": 1, "f0": 1, "energy": 1}, entry]]))
    with pytest.raises(RecipeError, match=f"sentence 1, phone 2.*{message}"):
        read_prosody(path)


def test_what_cannot_be_spoken_is_refused(folder, tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(RecipeError, match="cannot be read"):
        speak(folder, tmp_path / "a.wav", f"say.prosody={path}")
    path.write_text("[]")
    with pytest.raises(RecipeError, match="no list of sentences"):
        read_prosody(path)
    path.write_text('[[{"phone": "ZZ", "duration": 1, "f0": 200, "energy": 5}]]')
    with pytest.raises(RecipeError, match="unknown phone ZZ"):
        speak(folder, tmp_path / "a.wav", f"say.prosody={path}")
    path.write_text('[[{"phone": "N", "duration": 0.001, "f0": 200, "energy": 5}]]')
    with pytest.raises(RecipeError, match="no phone of a whole frame"):
        speak(folder, tmp_path / "a.wav", f"say.prosody={path}")
    with pytest.raises(RecipeError, match="have to be 1 beside say.prosody"):
        speak(folder, tmp_path / "a.wav", f"say.prosody={path}", "say.speed=2")
    with pytest.raises(RecipeError, match="a.txt: give a file name that ends in .json or .csv"):
        composed("say.dump=a.txt")
