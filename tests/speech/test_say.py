"""`make say` reports wrong settings in a line each, before it loads a model."""

import os

import pytest
from conftest import composed, run_script

from pipeline.errors import RecipeError


@pytest.mark.parametrize(
    "override",
    ["speed=abc", "speed=0", "pitch=-1", "energy=inf", "speed=nan", "pitch=true", "energy=null"],
)
def test_factors_that_are_no_positive_numbers_are_named(override):
    with pytest.raises(RecipeError, match=f"^say.{override}: give a number above 0$"):
        composed(f"say.{override}")


@pytest.mark.parametrize("output", ["a.mp3", "a", "a.txt", "a.raw.x", "mp3"])
def test_formats_that_cannot_be_written_are_named(output):
    message = f"^say.output: {output}: give a file name that ends in .wav or .flac"
    with pytest.raises(RecipeError, match=message):
        composed(f"say.output={output}")


def test_a_folder_is_no_output(tmp_path):
    folder = tmp_path / "a.wav"
    folder.mkdir()
    with pytest.raises(RecipeError, match="a.wav is a folder"):
        composed(f"say.output={folder}")


@pytest.mark.parametrize("output", ["say.wav", "there/SAY.WAV", "say.flac", "say.aiff"])
def test_outputs_and_factors_that_are_fine_pass(output):
    say = composed(f"say.output={output}", "say.speed=2", "say.pitch=0.5").say
    assert (say.output, say.speed, say.pitch) == (output, 2, 0.5)


def test_all_wrong_settings_are_reported_without_a_traceback_and_before_loading(tmp_path):
    result = run_script(
        "say",
        *("say.output=a.mp3", "say.speed=abc", f"paths.experiment={tmp_path}"),
        env={**os.environ, "SAY_TEXT": "Hello."},
    )
    assert result.returncode == 1 and result.stdout == ""
    # The run does not exist either, but nothing has looked for it yet.
    assert result.stderr == (
        "error: 2 settings are wrong:\n"
        "  say.output: a.mp3: give a file name that ends in .wav or .flac\n"
        "  say.speed=abc: give a number above 0\n"
    )
