"""What the fingerprints of synthesis and evaluation depend on."""

import pytest
from conftest import composed
from omegaconf import OmegaConf

from pipeline.errors import RecipeError
from pipeline.stages import EVALUATION, SYNTHESIS, vocoder_inputs


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
    griffin_lim = OmegaConf.create({"kind": "griffin_lim"})
    assert vocoder_inputs(griffin_lim) == [griffin_lim]
