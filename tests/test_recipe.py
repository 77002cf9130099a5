"""The whole recipe on its real corpus: all seven stages, as `make demo` runs them but shorter."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from conftest import PROJECT, composed, run_script

from pipeline.stage_folder import StageFolder
from pipeline.stages import TRAINING

SNIPER = ["sparsity=decaying", "sparsity.scoring_batches=10"]
SHORT = ["trainer.updates=600", "evaluation.clips_per_set=5", "trainer.val_every=200", "samples=1"]


@pytest.fixture(scope="module")
def recipe(prepared, tmp_path_factory) -> tuple[list[str], Path]:
    """Overrides and folder of a recipe with a trained run, and both references by multirun."""
    folder = tmp_path_factory.mktemp("recipe")
    paths = [f"paths.experiment={folder}/exp", f"paths.results={folder}/results"]
    overrides = [*prepared, *SHORT, *paths]
    for system in (
        ["name=sniper", *SNIPER],
        ["-m", "system=natural,vocoded", "name=${system}"],
    ):
        result = run_script("run", *system, *overrides)
        assert result.returncode == 0, result.stdout + result.stderr
    result = run_script("stage7_tables", *overrides)
    assert result.returncode == 0, result.stdout + result.stderr
    return overrides, folder


def measures(folder: Path, run: str) -> dict:
    return json.loads((folder / "exp" / run / "evaluation" / "metrics.json").read_text())[
        "measures"
    ]


def test_speech_is_understood(recipe):
    _, folder = recipe
    assert measures(folder, "sniper")["wer_heldout"] <= 0.4
    assert measures(folder, "vocoded")["wer_heldout"] <= 0.1
    assert measures(folder, "natural")["wer_heldout"] <= 0.1


def test_measures_order_the_systems_as_ears_would(recipe):
    _, folder = recipe
    natural, vocoded, sniper = (measures(folder, run) for run in ("natural", "vocoded", "sniper"))
    assert natural["mos_heldout"] > 3.5 and vocoded["mos_heldout"] > sniper["mos_heldout"] + 0.5
    assert vocoded["mcd"] < sniper["mcd"]
    assert vocoded["log_f0_rmse"] < sniper["log_f0_rmse"]
    assert natural["mcd"] is None and natural["wer_other"] is None
    assert 0 < sniper["duration_mae_ms"] < 60


def test_tables_hold_every_system_and_leave_unknown_cells_empty(recipe):
    _, folder = recipe
    tables = folder / "results" / "tables"

    def values(name: str) -> dict[str, dict[str, str]]:
        with open(tables / f"{name}.csv", newline="") as file:
            return {row["run"]: row for row in csv.DictReader(file)}

    assert list(values("naturalness")) == ["natural", "vocoded", "sniper"]
    assert values("naturalness")["natural"]["MCD, dB"] == ""
    error_rate = values("intelligibility")["sniper"]["WER held-out"]
    assert float(error_rate) == measures(folder, "sniper")["wer_heldout"]
    latex = (tables / "intelligibility.tex").read_text()
    assert r"\toprule" in latex and r"40 $\rightarrow$ 20" in latex
    assert r"WER held-out, \%" in latex
    assert "\n| Decaying 40 → 20 → 10 → 0 % | 1 |" in (tables / "cost.md").read_text()
    assert {path.stem for path in (folder / "results" / "figures").iterdir()} == {
        *("losses", "sparsity", "masks", "layers", "wer_by_length", "sentence")
    }


def test_report_needs_no_other_file(recipe):
    _, folder = recipe
    page = (folder / "results" / "report.html").read_text()
    assert page.count("<audio") == 5 * 3 + 5
    sources = re.findall(r'(?:src|href)="([^"]{1,40})', page)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)


def test_nothing_is_redone_and_tables_are_the_same_byte_for_byte(recipe):
    overrides, folder = recipe
    for script, message in (
        ("stage1_download", "up to date"),
        ("stage2_align", "up to date"),
        ("stage3_features", "up to date"),
        ("stage7_tables", "up to date"),
    ):
        result = run_script(script, *overrides)
        assert result.returncode == 0 and message in result.stdout, result.stderr
    results = folder / "results"
    before = {path: path.read_bytes() for path in results.rglob("*.*") if path.is_file()}
    assert len(before) > 10
    (results / "stage.json").write_text('{"fingerprint": "of other runs", "complete": true}')
    assert run_script("stage7_tables", *overrides).returncode == 0
    assert {path: path.read_bytes() for path in before} == before


def test_say_speaks_any_sentence(recipe, tmp_path):
    overrides, _ = recipe
    wavs = {}
    for speed in ("1.0", "0.5"):
        wavs[speed] = tmp_path / f"{speed}.wav"
        said = ["name=sniper", f"say.output={wavs[speed]}", f"say.speed={speed}"]
        arguments = [*overrides, *said]
        result = run_script("say", *arguments, env=_environment("It's a warm, quiet evening."))
        assert result.returncode == 0, result.stderr
    lengths = {speed: soundfile.info(wav).duration for speed, wav in wavs.items()}
    assert 1.5 < lengths["0.5"] / lengths["1.0"] < 2.2

    empty = run_script("say", *overrides, "name=sniper", env=_environment(""))
    assert empty.returncode == 1 and "is empty" in empty.stderr
    untrained = run_script("say", *overrides, "name=nobody", env=_environment("Hello."))
    assert untrained.returncode == 1 and "train the run first" in untrained.stderr


@pytest.fixture(scope="module")
def voice(recipe) -> Path:
    """The trained row as a voice."""
    overrides, folder = recipe
    result = run_script("voice", *overrides, "name=sniper", f"voice={folder}/voice")
    assert result.returncode == 0, result.stderr
    return folder / "voice"


def test_a_voice_speaks_in_a_folder_without_data_and_exp(voice, tmp_path):
    shutil.copytree(voice, tmp_path / "mine")
    result = subprocess.run(
        [sys.executable, PROJECT / "scripts" / "say.py", "voice=mine", "say.output=say.wav"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=_environment("Please hold.") | {"PYTHONPATH": str(PROJECT)},
    )
    assert result.returncode == 0, result.stderr
    assert soundfile.info(tmp_path / "say.wav").duration > 0.3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "say.wav"]
    card = (voice / "README.md").read_text()
    assert "CC-BY-SA-3.0" in card and "- `wer_heldout`: " in card and "Updates: 600" in card


@pytest.mark.slow
def test_a_voice_is_evaluated_like_the_run_that_it_was_written_from(recipe, voice, tmp_path):
    overrides, folder = recipe
    evaluated = [*overrides, f"paths.experiment={tmp_path}", "name=voice", f"voice={voice}"]
    for stage in ("stage5_vocode", "stage6_evaluate"):
        assert (result := run_script(stage, *evaluated)).returncode == 0, result.stderr
    of_voice = json.loads((tmp_path / "voice" / "evaluation" / "metrics.json").read_text())
    of_run = json.loads((folder / "exp" / "sniper" / "evaluation" / "metrics.json").read_text())
    assert of_voice["training"] == of_run["training"]
    # Rounded to half precision, the weights give nearly the same speech.
    assert of_voice["measures"]["mcd"] == pytest.approx(of_run["measures"]["mcd"], rel=0.01)


@pytest.mark.slow
def test_speech_does_not_depend_on_where_stage_5_was_killed(recipe, tmp_path):
    overrides, folder = recipe
    shutil.copytree(folder / "exp" / "sniper" / "train", tmp_path / "killed" / "train")
    settings = [*overrides, *SNIPER, f"paths.experiment={tmp_path}", "name=killed"]
    settings += ["vocoder=griffin_lim"]
    assert (result := run_script("stage5_vocode", *settings)).returncode == 0, result.stderr
    synthesis = tmp_path / "killed" / "synthesis"
    wavs = {path: path.read_bytes() for path in synthesis.rglob("*.wav")}
    assert len(wavs) == 10
    # The state after a kill between two clips.
    mark = json.loads((synthesis / "stage.json").read_text())
    (synthesis / "stage.json").write_text(json.dumps(mark | {"complete": False}))
    list(wavs)[5].unlink()
    assert (result := run_script("stage5_vocode", *settings)).returncode == 0, result.stderr
    assert {path: path.read_bytes() for path in wavs} == wavs


def _environment(text: str) -> dict[str, str]:
    return os.environ | {"SAY_TEXT": text}


def test_errors_come_without_a_traceback(prepared, tmp_path):
    nothing = run_script("stage7_tables", *prepared, f"paths.experiment={tmp_path}")
    assert nothing.returncode == 1 and "no finished run of" in nothing.stderr
    early = run_script("stage5_vocode", *prepared, f"paths.experiment={tmp_path}")
    assert early.returncode == 1 and "run `make stage4`" in early.stderr
    settings = [f"paths.experiment={tmp_path}", "system=natrual"]
    misspelt = run_script("stage5_vocode", *prepared, *settings)
    assert misspelt.returncode == 1 and "system=natrual: choose one of model, " in misspelt.stderr
    unknown = run_script("stage4_train", "sparsity=decreasing")
    assert unknown.returncode == 1 and "sparsity=decreasing: choose one of" in unknown.stderr
    for result in (nothing, early, misspelt, unknown):
        assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())  # a finished result would have been emptied


def test_a_run_that_differs_in_its_vocoder_is_not_trained_again(tmp_path):
    experiment = f"paths.experiment={tmp_path}"
    trained = StageFolder(tmp_path / "default" / "train", TRAINING.fingerprint(composed()))
    trained.begin()
    (trained.folder / "model.pt").write_text("weights")
    trained.finish()
    result = run_script("stage4_train", "vocoder=griffin_lim", experiment)
    assert result.returncode == 0 and "is a copy of" in result.stdout, result.stderr
    assert (tmp_path / "vocoder=griffin_lim" / "train" / "model.pt").read_text() == "weights"
    other = run_script("stage4_train", "seed=1", experiment, f"paths.data={tmp_path}/nothing")
    assert other.returncode == 1 and "run `make stage3`" in other.stderr


def test_make_help_lists_every_target():
    makefile = (PROJECT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*##", makefile, re.MULTILINE))
    command = ["make", "--no-print-directory", "help"]
    printed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True).stdout
    assert targets == {line.split()[0] for line in printed.splitlines()}
    assert {f"stage{number}" for number in range(1, 8)} <= targets
