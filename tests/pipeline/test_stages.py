"""What the fingerprints of synthesis and evaluation depend on."""

import os
import subprocess
import sys

import pytest
from conftest import PROJECT, composed

from pipeline.errors import RecipeError
from pipeline.stages import EVALUATION, SYNTHESIS, Stage, runs, vocoder_inputs


@pytest.mark.parametrize("recipe", ["allison", "ljspeech"])
def test_every_recipe_has_its_sentences(recipe):
    assert EVALUATION.fingerprint(composed(f"recipe={recipe}"))


def test_sentences_may_be_null_but_not_missing(tmp_path):
    none = composed("evaluation.sentences=null")
    assert SYNTHESIS.fingerprint(none) != SYNTHESIS.fingerprint(composed())
    missing = composed(f"evaluation.sentences={tmp_path}/sentences.txt")
    with pytest.raises(RecipeError, match="sentences.txt does not exist: write sentences"):
        SYNTHESIS.fingerprint(missing)


def test_a_vocoder_in_files_is_identified_by_their_contents(tmp_path):
    def identity(folder) -> str:
        overrides = ["vocoder=hifigan_folder", f"vocoder.folder={folder}", "vocoder.name=mine"]
        return vocoder_inputs(composed(*overrides).vocoder)[1:]

    folder = tmp_path / "vocoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "g_1").write_text("weights")
    first = identity(folder)
    folder.rename(tmp_path / "elsewhere")
    folder = tmp_path / "elsewhere"
    assert identity(folder) == first
    (folder / "do_1").write_text("discriminators do not affect speech")
    assert identity(folder) == first
    (folder / "g_1").write_text("WEIGHTS")
    second = identity(folder)
    assert second != first
    (folder / "g_2").write_text("more of them")
    assert identity(folder) not in (first, second)


def test_a_packaged_vocoder_is_identified_by_its_checksum():
    vocoder = composed().vocoder
    assert vocoder.sha256 and vocoder_inputs(vocoder) == [vocoder]
    griffin_lim = composed("vocoder=griffin_lim").vocoder
    assert vocoder_inputs(griffin_lim) == [griffin_lim]


def test_scripts_answer_up_to_date_without_loading_a_numerical_library():
    code = (
        "import sys, finetune_vocoder, run, records, stage1_download, stage2_align\n"
        "import stage3_features, stage7_tables, status, sweep\n"
        "print([m for m in ('numpy', 'torch', 'lightning', 'matplotlib') if m in sys.modules])"
    )
    path = os.pathsep.join([str(PROJECT), str(PROJECT / "scripts")])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_stage_works_once_its_needs_are_complete_and_only_once(tmp_path, capsys):
    first = Stage("one", "make one", "{paths.corpus}", lambda config: ["first"])
    second = Stage(
        "two", "make two", "{paths.features}", lambda config: [2], lambda config: [first]
    )
    config, worked = (
        composed(f"paths.corpus={tmp_path}/first", f"paths.features={tmp_path}/second"),
        [],
    )

    @runs(second)
    def work(config):
        worked.append(config)
        output = second.output(config)
        output.begin()
        output.finish()

    with pytest.raises(RecipeError, match="first is missing or outdated: run `make one`"):
        work(config)
    first.output(config).begin()
    with pytest.raises(RecipeError, match="run `make one`"):
        work(config)
    first.output(config).finish()
    work(config)
    work(config)
    assert worked == [config]
    assert capsys.readouterr().out == f"two: {tmp_path}/second is up to date\n"


def test_a_result_that_another_run_has_is_copied(tmp_path, capsys):
    def twins(config):
        return sorted(tmp_path.glob("*/train"))

    stage = Stage(
        "train", "make train", "{paths.run}/train", lambda config: [config.seed], twins=twins
    )
    for run, seed in (("a", 1), ("b", 2)):
        finished = stage.output(composed(f"paths.run={tmp_path}/{run}", f"seed={seed}"))
        finished.begin()
        (finished.folder / "weights").write_text(str(seed))
        finished.finish()
    worked = []
    train = runs(stage)(worked.append)
    train(composed(f"paths.run={tmp_path}/c", "seed=2"))
    assert (tmp_path / "c" / "train" / "weights").read_text() == "2" and not worked
    assert capsys.readouterr().out == f"train: {tmp_path}/c/train is a copy of {tmp_path}/b/train\n"
    other = composed(f"paths.run={tmp_path}/d", "seed=3")
    train(other)
    assert worked == [other]
