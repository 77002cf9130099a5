"""Stage 2: TextGrids from elsewhere, aligners that fail, and alignments that cannot be right."""

import json
import os
import shutil
import signal
import stat
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import TEXTGRIDS, composed, run_script
from intake import table_corpus, write_grid

from audio.wav import read_wav
from pipeline.errors import RecipeError
from pipeline.stages import ALIGNMENTS
from preprocessing.alignment.align import align
from preprocessing.alignment.aligners import collect_textgrids
from preprocessing.alignment.plausibility import check_plausible
from preprocessing.alignment.textgrid import Alignment, Interval, read_textgrid
from preprocessing.corpus.build import build_corpus
from preprocessing.corpus.metadata import read_metadata, read_reasons, write_metadata
from preprocessing.settings import TextGridSettings
from preprocessing.text.lexicon import read_lexicon
from preprocessing.text.pronouncer import Pronouncer

PROMPTS = "agent-user all-circuits-busy-now check-number-dial-again demo-nogo goodbye hello".split()


@pytest.fixture(scope="module")
def data(prepared) -> Path:
    return Path(
        next(o.removeprefix("paths.data=") for o in prepared if o.startswith("paths.data="))
    )


@pytest.fixture(scope="module")
def few(prepared, tmp_path_factory) -> list[str]:
    """The overrides of a corpus of a few prompts that has been through stage 1."""
    folder = tmp_path_factory.mktemp("few")
    overrides = [f"paths.data={folder}", "paths.downloads=data/allison/downloads"]
    overrides += [f"corpus.only=[{','.join(PROMPTS)}]"]
    done = run_script("stage1_download", *overrides)
    assert done.returncode == 0, done.stderr
    return overrides


def folder_of(overrides: list[str]) -> Path:
    return Path(overrides[0].removeprefix("paths.data="))


def test_unusable_textgrids_of_a_folder_are_listed(few, tmp_path):
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
def test_wrong_sources_of_textgrids_are_reported(few, tmp_path, contents, message):
    source = tmp_path / "grids.zip"
    if contents is zipfile.BadZipFile:
        zipfile.ZipFile(source, "w").close()
    elif contents:
        source.write_bytes(contents)
    done = run_script("stage2_align", *few, "aligner=textgrid", f"aligner.source={source}")
    assert done.returncode == 1 and message in done.stderr
    assert "Traceback" not in done.stderr


FAKE_MFA = """#!{python}
import json, os, pathlib, shutil, signal, sys
arguments = sys.argv[1:]
with open("{log}", "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if os.path.exists("{folder}/fail-" + arguments[0]):
    sys.exit("no such acoustic model")
if arguments[0] == "align":
    if os.path.exists("{folder}/kill"):
        os.kill(os.getppid(), signal.SIGKILL)
    corpus, dictionary, model, output = map(pathlib.Path, arguments[1:5])
    assert model.exists() and {{*dictionary.read_text().split()}} and not output.exists()
    output.mkdir()
    for text in corpus.glob("*.txt"):
        assert (corpus / (text.stem + ".wav")).exists()
        shutil.copy("{grids}/TextGrid/" + text.stem + ".TextGrid", output)
"""
"""A substitute for MFA, which needs conda. It logs its arguments and copies finished TextGrids."""


@pytest.fixture
def fake_mfa(tmp_path, few, monkeypatch):
    """A folder with an `mfa` on PATH, which files in that folder make fail; a function that reads
    its logged calls; and the overrides for stage 2."""
    with zipfile.ZipFile(TEXTGRIDS) as archive:
        archive.extractall(tmp_path)
    mfa, log = tmp_path / "mfa", tmp_path / "log.jsonl"
    mfa.write_text(FAKE_MFA.format(python=sys.executable, log=log, folder=tmp_path, grids=tmp_path))
    mfa.chmod(mfa.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "model.zip").write_bytes(b"acoustic model")
    overrides = [*few, "aligner=mfa", f"aligner.acoustic_model={tmp_path}/model.zip"]
    overrides += [f"paths.alignments={tmp_path}/alignments"]

    def calls() -> list[list[str]]:
        return [json.loads(line) for line in log.read_text().splitlines()]

    return tmp_path, calls, overrides


def test_mfa_validates_and_aligns_with_the_given_model_and_our_dictionary(fake_mfa):
    folder, calls, overrides = fake_mfa
    done = run_script("stage2_align", *overrides)
    assert done.returncode == 0, done.stderr
    assert f"{len(PROMPTS)} utterances aligned" in done.stdout
    validate, align = calls()
    assert validate[0] == "validate" and "--ignore_acoustics" in validate
    assert validate[validate.index("--acoustic_model_path") + 1] == f"{folder}/model.zip"
    assert align[:2] == ["align", validate[1]] and align[2] == validate[2]
    assert align[3] == f"{folder}/model.zip" and "--clean" not in align
    assert "up to date" in run_script("stage2_align", *overrides).stdout


def test_mfa_continues_after_a_kill_or_a_failure_without_validating_again(fake_mfa):
    folder, calls, overrides = fake_mfa
    (folder / "fail-validate").touch()
    done = run_script("stage2_align", *overrides)
    assert done.returncode == 1
    assert "mfa validate failed with status 1: no such acoustic model" in done.stderr
    (folder / "fail-validate").unlink()
    (folder / "kill").touch()
    assert run_script("stage2_align", *overrides).returncode == -signal.SIGKILL
    (folder / "kill").unlink()
    done = run_script("stage2_align", *overrides)
    assert done.returncode == 0, done.stderr
    assert [call[0] for call in calls()] == ["validate", "validate", "align", "align"]
    assert calls()[2] == calls()[3], "MFA finds its finished steps in the same folders"


def test_a_missing_mfa_command_is_reported(few, tmp_path):
    without_mfa = os.environ | {"PATH": str(tmp_path)}
    done = run_script("stage2_align", *few, "aligner=mfa", env=without_mfa)
    assert done.returncode == 1
    assert "conda install -c conda-forge montreal-forced-aligner" in done.stderr


def test_each_stage_names_the_stage_that_is_missing_before_it(few, tmp_path):
    empty = [f"paths.data={tmp_path}"]
    for stage, needed in (("stage2_align", "make stage1"), ("stage3_features", "make stage2")):
        done = run_script(stage, *empty)
        assert done.returncode == 1 and f"run `{needed}`" in done.stderr


def test_words_and_recordings_that_cannot_be_aligned_are_reported(few, tmp_path):
    """A word too long to pronounce is listed in unaligned.csv. A bad recording stops the stage."""
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
    # Both stage 2 with another aligner and stage 3 check the recordings again.
    done = run_script("stage2_align", *overrides[:-2], "aligner=viter")
    assert done.returncode == 1 and f"{wav}: has 2 channels where 1 is needed" in done.stderr
    done = run_script("stage3_features", *overrides)
    assert done.returncode == 1 and f"{wav} has 2 channels where 1 is needed" in done.stderr


@pytest.mark.parametrize("layout", ["ming024", "zip of ming024's", "zip of Windows", "flat"])
def test_textgrids_in_every_layout(few, tmp_path, layout):
    """ming024 publishes a zip file of TextGrid/<speaker>/<id>.TextGrid."""
    with zipfile.ZipFile(TEXTGRIDS) as archive:
        grids = {name: archive.read(f"TextGrid/{name}.TextGrid") for name in PROMPTS}
    inner = "" if layout == "flat" else "TextGrid/LJSpeech/"
    ending = ".textgrid" if layout == "flat" else ".TextGrid"
    if layout == "zip of Windows":
        inner = inner.replace("/", "\\")
    source = tmp_path / "source"
    if layout.startswith("zip"):
        with zipfile.ZipFile(source, "w") as archive:
            for name, contents in grids.items():
                archive.writestr(f"{inner}{name}{ending}", contents)
    else:
        (source / inner).mkdir(parents=True)
        for name, contents in grids.items():
            (source / inner / f"{name}{ending}").write_bytes(contents)
    collected = tmp_path / "collected"
    collected.mkdir()
    aligner = TextGridSettings(name="textgrid", source=str(source))
    collect_textgrids(aligner, tmp_path, dict.fromkeys(PROMPTS[:5], ["a"]), {}, collected)
    names = {path.stem for path in (collected / "TextGrid").iterdir()}
    assert names == set(PROMPTS[:5]), "only those of the corpus's utterances"


@pytest.mark.parametrize("ending", [".TextGrid", ".textgrid"])
def test_a_changed_textgrid_outdates_the_alignments(tmp_path, ending):
    config = table_corpus(tmp_path)
    grid = tmp_path / "grids" / f"one{ending}"
    fingerprints = set()
    for label in ("HH", "B"):
        write_grid(grid, [(label, 0.0, 1.5)])
        fingerprints.add(ALIGNMENTS.fingerprint(config))
    assert len(fingerprints) == 2


def test_unknown_words_do_not_enter_the_lexicon(tmp_path):
    """MFA 2 and 3 give a word that their dictionary lacks the phone `spn`."""
    texts = {"one": "Hello big world.", "two": "Hello big world.", "three": "The BBC has PBX."}
    config = table_corpus(tmp_path, texts)
    build_corpus(config)
    bounds = [0.0, 0.1, 0.5, 0.9, 1.4, 1.5]
    times = list(pairwise(bounds))
    words = [(w, *t) for w, t in zip(["", "hello", "big", "world", ""], times, strict=True)]
    known = ["", "HH", "B", "ER1", ""]
    for name, labels in {
        "one": known,
        "two": ["", "HH", "spn", "spn", ""],  # One inside, and one at the end.
    }.items():
        phones = [(label, *t) for label, t in zip(labels, times, strict=True)]
        write_grid(tmp_path / "grids" / f"{name}.TextGrid", phones, words=words)
    labels = ["DH", "B", "IH1", "Y", ""]
    rows = zip(["THE", "BBC", "HAS", "pbx", ""], labels, times, strict=True)
    words_in_capitals, phones = zip(*(((w, *t), (p, *t)) for w, p, t in rows), strict=True)
    write_grid(tmp_path / "grids" / "three.TextGrid", phones, words=words_in_capitals)
    align(config)
    lexicon = read_lexicon(Path(config.paths.alignments) / "lexicon.txt")
    assert lexicon == {"hello": [["HH"]], "big": [["B"]], "world": [["ER1"]]} | {
        "the": [["DH"]], "bbc": [["B"]], "has": [["IH1"]], "PBX": [["Y"]]
    }  # fmt: skip

    (tmp_path / "grids" / "three.TextGrid").unlink()
    for name in ("one", "two"):  # Known in no recording, a word is said by the dictionary.
        phones = [(label, *t) for label, t in zip(["", "HH", "spn", "ER1", ""], times, strict=True)]
        write_grid(tmp_path / "grids" / f"{name}.TextGrid", phones, words=words)
    align(config)
    lexicon = read_lexicon(Path(config.paths.alignments) / "lexicon.txt")
    assert lexicon.keys() == {"hello", "world"}
    assert Pronouncer(lexicon).phones("Big world") == ["B", "IH1", "G", "ER1"]


def test_text_that_was_not_spoken_is_recognised(data):
    """The right alignment passes. Cut in half, or squeezed into a fifth of its time, it fails."""
    wavs, grids = data / "corpus" / "wavs", data / "alignments" / "textgrid" / "TextGrid"
    screening = composed().corpus.screening
    name = "agent-user"
    alignment, waveform = (
        read_textgrid(grids / f"{name}.TextGrid"),
        read_wav(wavs / f"{name}.wav"),
    )
    check_plausible(alignment, waveform, screening)
    half = type(alignment)(alignment.phones[: len(alignment.phones) // 2], [])
    with pytest.raises(RecipeError, match="s of sound outside its alignment"):
        check_plausible(half, waveform, screening)
    fifth = [type(p)(p.start / 5, p.end / 5, p.label) for p in alignment.phones]
    with pytest.raises(RecipeError, match="phones as short as they can be"):
        check_plausible(type(alignment)(fifth, []), waveform[: len(waveform) // 5], screening)


@pytest.mark.parametrize("beyond", [0.0, 0.2])
def test_sound_outside_is_measured_as_well_after_a_minute_as_at_the_start(beyond):
    """A tone between silences, of which the last `beyond` seconds are not aligned."""
    seconds = np.arange(62 * 22050) / 22050
    inside = (seconds >= 0.5) & (seconds < 60.5)
    waveform = np.where(inside, 0.3 * np.sin(2 * np.pi * 200 * seconds), 0).astype(np.float32)
    ends = np.linspace(0.5, 60.5 - beyond, 301)
    phones = [Interval(a, b, "AY1") for a, b in zip(ends[:-1], ends[1:], strict=True)]
    limits = {"short_phones": 0.3, "phone_seconds": [0.03, 0.6], "sound_outside": beyond + 0.02}
    screening = composed().corpus.screening
    check_plausible(Alignment(phones, []), waveform, screening.model_copy(update=limits))
    limits["sound_outside"] = beyond - 0.02
    with pytest.raises(RecipeError, match=f"has {beyond:.2f} s of sound outside"):
        check_plausible(Alignment(phones, []), waveform, screening.model_copy(update=limits))
