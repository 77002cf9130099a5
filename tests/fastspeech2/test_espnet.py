"""`load_espnet` against outputs of ESPnet itself, which reference/make_espnet.py wrote."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from espnet_cases import BATCHES, CASES, SYMBOLS, random_batch, random_state, train_config

from fastspeech2 import load_espnet
from pipeline.errors import RecipeError

REFERENCE = np.load(Path(__file__).parent / "reference" / "espnet.npz")
INDEX = json.loads(str(REFERENCE["index"]))
SHAPES = INDEX["shapes"]
TOLERANCE = 2e-5
STATISTICS = {
    f"{name}.{key}": torch.ones(1)
    for name in ("normalize", "pitch_normalize", "energy_normalize")
    for key in ("mean", "std")
}


def checkpoint(case: str) -> dict[str, torch.Tensor]:
    """The weights of a case, for two of them as files of today and of old versions hold them."""
    state = random_state(SHAPES[case], case)
    if case == "prefixed":
        state = {f"tts.{name}": value for name, value in state.items()} | STATISTICS
        state["feats_extract.logmel.melmat"] = torch.zeros(513, 12)
    if case == "old_names":
        old = [("embed.", "input_layer."), ("after_norm.", "norm.")]
        for stack in ("encoder", "decoder"):
            for new_name, old_name in old:
                prefix = f"{stack}.{new_name}"
                for name in [each for each in state if each.startswith(prefix)]:
                    state[name.replace(prefix, f"{stack}.{old_name}")] = state.pop(name)
            state[f"{stack}.embed.{1 if stack == 'encoder' else 0}.pe"] = torch.zeros(1, 5, 16)
    return state


def largest_difference(case: str, batch: str, state: dict | None = None) -> float:
    """Over all outputs, with the end of sentence left to be appended."""
    model = load_espnet(checkpoint(case) if state is None else state, train_config(case))
    given = random_batch(BATCHES[batch])
    with torch.no_grad():
        found = model(
            given["text"], given["lengths"], given["durations"], given["pitch"], given["energy"]
        )
    differences = []
    for name in ("mel", "mel_postnet", "log_duration", "pitch", "energy"):
        expected = torch.from_numpy(REFERENCE[f"{case}/{batch}/{name}"])
        assert getattr(found, name).shape == expected.shape, name
        differences.append(float((getattr(found, name) - expected).abs().max()))
    return max(differences)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_espnet(case, batch):
    assert largest_difference(case, batch) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_predicted_durations_and_what_they_give_are_those_of_espnet(case):
    model = load_espnet(checkpoint(case), train_config(case))
    text, lengths = random_batch([9])["text"], torch.tensor([9])
    with torch.no_grad():
        found = model(text, lengths)
        ended = torch.cat([text, torch.tensor([[len(SYMBOLS) - 1]])], 1)
        again = model(ended, lengths + 1)
        durations = model.encode(ended, lengths + 1).durations()
    expected = {
        name: torch.from_numpy(REFERENCE[f"{case}/inference/{name}"])
        for name in ("feat_gen", "duration", "pitch", "energy")
    }
    assert torch.equal(durations[0], expected["duration"])
    assert (found.mel_postnet[0] - expected["feat_gen"]).abs().max() < TOLERANCE
    assert (found.pitch[0] - expected["pitch"]).abs().max() < TOLERANCE
    assert (found.energy[0] - expected["energy"]).abs().max() < TOLERANCE
    assert torch.equal(found.mel_postnet, again.mel_postnet)


def test_the_references_have_short_and_silent_phones():
    durations = {case: REFERENCE[f"{case}/inference/duration"] for case in CASES}
    assert (durations["short"] == 0).any() and (durations["short"] > 0).any()
    assert (durations["silent"] == 1).all()


@pytest.mark.parametrize(
    "case", ["ljspeech", pytest.param("decoder_concat_after", marks=pytest.mark.slow)]
)
def test_any_altered_tensor_is_noticed(case):
    """All but the biases of keys, which add the same to all scores, and counts of batches."""
    for name, value in checkpoint(case).items():
        if not name.endswith(("linear_k.bias", "num_batches_tracked")):
            places = np.linspace(0, value.numel() - 1, 9).astype(int)  # a ReLU may hide one
            assert any(_notices(case, name, place) for place in places), name


def _notices(case: str, name: str, place: int) -> bool:
    state = checkpoint(case)
    state[name].view(-1)[place] += 0.05
    return largest_difference(case, "batch", state) > TOLERANCE


def test_the_configuration_may_be_a_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(train_config("ljspeech")), "utf-8")
    for each in (path, str(path)):
        assert load_espnet(checkpoint("ljspeech"), each).eos == len(SYMBOLS) - 1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"encoder_type": "conformer"}, "encoder_type=conformer"),
        ({"decoder_type": "conformer", "use_gst": True}, "decoder_type=conformer .*use_gst=True"),
        ({"reduction_factor": 2}, "reduction_factor=2"),
        ({"spks": 4}, "spks=4"),
        ({"langs": 2}, "langs=2"),
        ({"spk_embed_dim": 192, "spk_embed_integration_type": "add"}, "spk_embed_dim=192"),
        ({"positionwise_layer_type": "conv2d"}, "positionwise_layer_type=conv2d"),
        ({"positionwise_conv_kernel_size": 4}, "even kernel of 4"),
        ({"aheads": 5}, "5 attention heads"),
        ({"pitch_embed_chans": 1}, "pitch_embed_chans .an unknown setting"),
    ],
)
def test_variants_are_refused_by_name(settings, message):
    config = train_config("ljspeech")
    config["tts_conf"] = config["tts_conf"] | settings
    with pytest.raises(RecipeError, match=message):
        load_espnet(checkpoint("ljspeech"), config)


def test_errors_say_why_a_checkpoint_does_not_fit(tmp_path):
    state, config = checkpoint("ljspeech"), train_config("ljspeech")
    without = {name: value for name, value in state.items() if name != "feat_out.weight"}
    with pytest.raises(RecipeError, match="missing feat_out.weight; unknown gst.x"):
        load_espnet(without | {"gst.x": torch.zeros(1)}, config)
    wide = config | {"tts_conf": config["tts_conf"] | {"eunits": 25}}
    with pytest.raises(RecipeError, match=r"w_1.weight .* \[24, 16, 3\] .* but \[25, 16, 3\]"):
        load_espnet(state, wide)
    with pytest.raises(RecipeError, match="token_list has 9 symbols, but the checkpoint 10"):
        load_espnet(state, config | {"token_list": SYMBOLS[1:]})
    with pytest.raises(RecipeError, match="tts=tacotron2"):
        load_espnet(state, config | {"tts": "tacotron2"})
    with pytest.raises(RecipeError, match="no key tts.encoder.embed.0.weight"):
        load_espnet({"model": state}, config)
    with pytest.raises(RecipeError, match="cannot be read"):
        load_espnet(state, tmp_path / "missing.yaml")
