"""TextGrids of one's own, aligners that fail, and alignments that cannot be right."""

import os
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import PROJECT, TEXTGRIDS, run_script
from omegaconf import OmegaConf

from preprocessing.align import check_plausible
from preprocessing.corpus import read_metadata, read_reasons, read_wav, write_metadata
from preprocessing.errors import RecipeError
from preprocessing.textgrid import read_textgrid

PROMPTS = "agent-user all-circuits-busy-now check-number-dial-again demo-nogo goodbye hello".split()


@pytest.fixture(scope="module")
def data(prepared) -> Path:
    return Path(
        next(o.removeprefix("paths.data=") for o in prepared if o.startswith("paths.data="))
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> list[str]:
    """Overrides of a corpus of a few prompts, through stage 1."""
    folder = tmp_path_factory.mktemp("few")
    overrides = [f"paths.data={folder}", "paths.downloads=data/allison/downloads"]
    overrides += [f"corpus.only=[{','.join(PROMPTS)}]"]
    done = run_script("stage1_download", *overrides)
    assert done.returncode == 0, done.stderr
    return overrides


def folder_of(overrides: list[str]) -> Path:
    return Path(overrides[0].removeprefix("paths.data="))


def test_textgrids_from_a_folder_and_those_that_are_not_usable(few, tmp_path):
    source = tmp_path / "mine" / "deep"
    source.mkdir(parents=True)
    with zipfile.ZipFile(TEXTGRIDS) as archive:
        for name in PROMPTS[:4]:
            (source / f"{name}.TextGrid").write_bytes(archive.read(f"TextGrid/{name}.TextGrid"))
    (source / f"{PROMPTS[1]}.TextGrid").write_text("nonsense")
    other = (source / f"{PROMPTS[0]}.TextGrid").read_bytes()
    (source / f"{PROMPTS[3]}.TextGrid").write_bytes(other)
    done = run_script(
        "stage2_align", *few, "aligner=textgrid", f"aligner.source={tmp_path / 'mine'}"
    )
    assert done.returncode == 0, done.stderr
    assert f"2 utterances aligned in {folder_of(few)}" in done.stdout
    reasons = dict(read_reasons(folder_of(few) / "alignments" / "textgrid" / "unaligned.csv"))
    assert len(reasons) == len(PROMPTS) - 2
    assert "cannot be read" in reasons[PROMPTS[1]]
    assert "s of sound outside its alignment" in reasons[PROMPTS[3]], "another prompt's TextGrid"
    assert "has no TextGrid" in reasons[PROMPTS[4]]


@pytest.mark.parametrize(
    "contents, message",
    [
        (None, "aligner=textgrid finds no folder or zip file at"),
        (b"not a zip", "is neither a folder nor a zip file"),
        (zipfile.BadZipFile, "No utterance is left to train on"),
    ],
)
def test_wrong_sources_of_textgrids_are_told(few, tmp_path, contents, message):
    source = tmp_path / "grids.zip"
    if contents is zipfile.BadZipFile:
        zipfile.ZipFile(source, "w").close()
    elif contents:
        source.write_bytes(contents)
    done = run_script("stage2_align", *few, "aligner=textgrid", f"aligner.source={source}")
    assert done.returncode == 1 and message in done.stderr
    assert "Traceback" not in done.stderr


def test_mfa_absent_or_failing_is_told(few, tmp_path):
    done = run_script("stage2_align", *few, "aligner=mfa")
    assert done.returncode == 1
    assert "conda install -c conda-forge montreal-forced-aligner" in done.stderr
    mfa = tmp_path / "mfa"
    mfa.write_text("#!/bin/sh\necho 'no such acoustic model' >&2\nexit 3\n")
    mfa.chmod(mfa.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = run_script("stage2_align", *few, "aligner=mfa", env=environment)
    assert done.returncode == 1
    assert "mfa failed with status 3: no such acoustic model" in done.stderr


def test_stages_ask_for_what_comes_before_them(few, tmp_path):
    empty = [f"paths.data={tmp_path}"]
    for stage, needed in (("stage2_align", "make stage1"), ("stage3_features", "make stage2")):
        done = run_script(stage, *empty)
        assert done.returncode == 1 and f"run `{needed}`" in done.stderr


def test_words_and_recordings_that_nothing_can_align_are_all_told(few, tmp_path):
    """A word too long to pronounce goes to unaligned.csv; a bad recording must be mended first."""
    shutil.copytree(folder_of(few) / "corpus", tmp_path / "corpus")
    overrides = [f"paths.data={tmp_path}", *few[1:], "aligner=textgrid"]
    overrides += [f"aligner.source={TEXTGRIDS}"]
    metadata = tmp_path / "corpus" / "metadata.csv"
    utterances = read_metadata(metadata)
    odd = "l" + "anfairpwll" * 8
    changed = type(utterances[0])(utterances[0].id, odd, f"{odd} station")
    write_metadata(metadata, [changed, *utterances[1:]])
    done = run_script("stage2_align", *overrides)
    assert done.returncode == 0, done.stderr
    ((name, reason),) = read_reasons(tmp_path / "alignments" / "textgrid" / "unaligned.csv")
    assert name == changed.id and f"no pronunciation for '{odd}'" in reason

    wav = tmp_path / "corpus" / "wavs" / f"{utterances[1].id}.wav"
    waveform = read_wav(wav)
    soundfile.write(wav, np.stack([waveform, waveform], 1), 22050)
    # Stage 2 by another aligner and stage 3 both look at the recordings again.
    done = run_script("stage2_align", *overrides[:-2], "aligner=viter")
    assert done.returncode == 1 and f"{wav}: has 2 channels where 1 is needed" in done.stderr
    done = run_script("stage3_features", *overrides)
    assert done.returncode == 1 and f"{wav} has 2 channels where 1 is needed" in done.stderr


def test_text_that_was_not_spoken_is_recognised(data):
    """The right alignments pass; cut short, or squeezed into a part, they do not."""
    wavs, grids = data / "corpus" / "wavs", data / "alignments" / "textgrid" / "TextGrid"
    screening = OmegaConf.load(PROJECT / "conf" / "corpus" / "allison.yaml").screening
    name = "agent-user"
    alignment, waveform = (
        read_textgrid(grids / f"{name}.TextGrid", 0),
        read_wav(wavs / f"{name}.wav"),
    )
    check_plausible(alignment, waveform, screening)
    half = type(alignment)(alignment.phones[: len(alignment.phones) // 2], [])
    with pytest.raises(RecipeError, match="s of sound outside its alignment"):
        check_plausible(half, waveform, screening)
    fifth = [type(p)(p.start / 5, p.end / 5, p.label) for p in alignment.phones]
    with pytest.raises(RecipeError, match="phones as short as they can be"):
        check_plausible(type(alignment)(fifth, []), waveform[: len(waveform) // 5], screening)
