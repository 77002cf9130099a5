"""`make say` reports wrong settings in a line each, before it loads a model."""

import os

import pytest
from conftest import composed, run_script

from pipeline.errors import RecipeError
from pipeline.settings import check_settings
from speech.settings import SAY_SETTINGS


def check(config):
    check_settings(config, SAY_SETTINGS)


@pytest.mark.parametrize(
    "override",
    ["speed=abc", "speed=0", "pitch=-1", "energy=inf", "speed=nan", "pitch=true", "energy=null"],
)
def test_factors_that_are_no_positive_numbers_are_named(override):
    with pytest.raises(RecipeError, match="^(speed|pitch|energy)=.*: give a number above 0"):
        check(composed(override))


@pytest.mark.parametrize("output", ["a.mp3", "a", "a.txt", "a.raw.x", "mp3"])
def test_formats_that_cannot_be_written_are_named(output):
    with pytest.raises(RecipeError, match=f"^output={output}: give a file name that ends in .wav"):
        check(composed(f"output={output}"))


def test_a_folder_is_no_output(tmp_path):
    folder = tmp_path / "a.wav"
    folder.mkdir()
    with pytest.raises(RecipeError, match="this is a folder"):
        check(composed(f"output={folder}"))


@pytest.mark.parametrize("output", ["say.wav", "there/SAY.WAV", "say.flac", "say.aiff"])
def test_outputs_and_factors_that_are_fine_pass(output):
    check(composed(f"output={output}", "speed=2", "pitch=0.5"))


def test_all_wrong_settings_are_reported_without_a_traceback_and_before_loading(tmp_path):
    result = run_script(
        "say",
        *("output=a.mp3", "speed=abc", f"paths.experiment={tmp_path}"),
        env={**os.environ, "SAY_TEXT": "Hello."},
    )
    assert result.returncode == 1 and result.stdout == ""
    # The run does not exist either, but nothing has looked for it yet.
    assert result.stderr == (
        "error: speed=abc: give a number above 0, such as 1.2; "
        "output=a.mp3: give a file name that ends in .wav or .flac\n"
    )
