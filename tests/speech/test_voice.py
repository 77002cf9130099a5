"""A voice speaks like the run that it was written from, without data/ and exp/."""

import shutil
from pathlib import Path

import pytest
import torch
from conftest import changed, composed
from speech_cases import random_run, run_config

import speech
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json
from pipeline.stages import SYNTHESIS
from pipeline.vocoder_files import locate
from speech.voice import configured_voice
from speech.voice_folder import half_precision, write_voice

RECORD = {
    "name": "a run",
    "model": "tiny",
    "parameters": 2_071_845,
    "updates": 60,
    "seed": 0,
    "sparsity": {"kind": "dense"},
    "final_sparsity": 0.0,
    "train_seconds": 90.0,
    "processor": "a processor",
    "precision": "32-true",
    "versions": {"torch": "2.11.0"},
}


@pytest.fixture
def run(tmp_path):
    """The folder of an evaluated run whose model has random weights."""
    random_run(tmp_path / "run")
    write_json(tmp_path / "run" / "train" / "record.json", RECORD)
    metrics = {
        "measures": {"wer_heldout": 0.0338, "mcd": None},
        "definitions": {"wer_heldout": "Word error rate.", "mcd": "Distortion."},
    }
    write_json(tmp_path / "run" / "evaluation" / "metrics.json", metrics)
    return tmp_path / "run"


def test_a_voice_speaks_like_its_run(run, tmp_path):
    write_voice(run_config(run), tmp_path / "voice")
    text, factors = "Hello world. {HH AH0} hello.", (0.9, 1.2, 1.1)
    expected = configured_voice(run_config(run)).speaker()(text, *factors)
    shutil.rmtree(run)
    spoken = speech.load_voice(tmp_path / "voice").speaker()(text, *factors)
    # Weights rounded to half precision give the same durations here, and nearly the same samples.
    assert len(spoken) == len(expected)
    assert float((spoken - expected).abs().mean()) < 0.05 * float(expected.abs().mean())

    size = sum(path.stat().st_size for path in (tmp_path / "voice").iterdir())
    assert size < 4.5e6
    card = (tmp_path / "voice" / "README.md").read_text()
    for part in ("CC-BY-SA-3.0", "Allison Smith", "hifigan_universal", "60", "0.0338. Word error"):
        assert part in card
    assert "mcd" not in card  # the run has no such measure


def test_matrices_are_rounded_and_vectors_are_not(run):
    weights = run / "train" / "model.pt"
    full = torch.load(weights, weights_only=True)["model"]
    for name, value in half_precision(weights)["model"].items():
        matrix = full[name].is_floating_point() and full[name].ndim > 1
        assert value.dtype == (torch.float16 if matrix else full[name].dtype), name
        torch.testing.assert_close(value.to(full[name].dtype), full[name], atol=1e-4, rtol=1e-3)


def test_damaged_and_foreign_folders_are_refused(run, tmp_path):
    config, folder = run_config(run), tmp_path / "voice"
    with pytest.raises(RecipeError, match="holds no voice: it has no voice.json"):
        speech.load_voice(folder)
    (tmp_path / "work").mkdir()
    with pytest.raises(RecipeError, match="work exists and is not a voice"):
        write_voice(config, tmp_path / "work")
    write_voice(config, folder)
    write_voice(config, folder)  # replaces the first
    with (folder / "model.pt").open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    with pytest.raises(RecipeError, match="is damaged: model.pt differs from its digest"):
        speech.load_voice(folder)
    (folder / "lexicon.txt").unlink()
    with pytest.raises(RecipeError, match="lexicon.txt does not exist"):
        speech.load_voice(folder)


def test_runs_that_cannot_be_written_are_refused(run, tmp_path):
    config = run_config(run)
    unknown = changed(config, recipe__licence="")
    with pytest.raises(RecipeError, match="set recipe.licence, such as CC-BY-4.0, and recipe.sour"):
        write_voice(unknown, tmp_path / "voice")
    (run / "lexicon.txt").unlink()
    with pytest.raises(RecipeError, match="lexicon.txt does not exist: run `make stage2`"):
        write_voice(config, tmp_path / "voice")
    shutil.rmtree(run)
    with pytest.raises(RecipeError, match="train the run first with `make stage4`"):
        write_voice(config, tmp_path / "voice")
    assert not (tmp_path / "voice").exists()


def test_another_language_and_a_vocoder_of_the_users_travel_with_the_voice(run, tmp_path):
    installed = run_config(run).vocoder
    files = tmp_path / "vocoder"
    files.mkdir()
    shutil.copyfile(locate(installed.checkpoint), files / "g_00000001")
    shutil.copyfile(locate(installed.config), files / "config.json")
    (tmp_path / "words.txt").write_text("hallo HH AH0 L OW1\n", "utf-8")
    (tmp_path / "of-the-language.txt").write_text("rules", "utf-8")
    files_of_language = f"lexicon: {tmp_path}/words.txt, rules: {tmp_path}/of-the-language.txt"
    language = f"{{normaliser: null, {files_of_language}, phones: null}}"
    config = run_config(
        run, "vocoder=hifigan_folder", f"vocoder.folder={files}", f"corpus.language={language}"
    )
    expected = configured_voice(config).speaker()("Hallo hello.")
    write_voice(config, tmp_path / "voice")
    for path in (run, files):
        shutil.rmtree(path)
    (tmp_path / "words.txt").unlink()
    shutil.move(tmp_path / "voice", tmp_path / "moved")
    voice = speech.load_voice(tmp_path / "moved")
    assert Path(voice.language.rules).read_text("utf-8") == "rules"
    assert len(voice.speaker()("Hallo hello.")) == len(expected)
    with pytest.raises(RecipeError, match="the word 'planet' is not in"):
        voice.speaker()("Hallo planet.")


def test_stage_5_depends_on_the_contents_of_the_voice(run, tmp_path):
    folder = tmp_path / "voice"
    write_voice(run_config(run), folder)
    first = SYNTHESIS.fingerprint(composed(f"voice={folder}"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert SYNTHESIS.fingerprint(composed(f"voice={copy}")) == first
    write_json(folder / "voice.json", read_json(folder / "voice.json") | {"licence": "other"})
    assert SYNTHESIS.fingerprint(composed(f"voice={folder}")) != first
    assert SYNTHESIS.fingerprint(composed()) != first
