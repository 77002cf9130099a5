"""ming024/FastSpeech2: the size of its model, and loaded checkpoints against `Reference`."""

import pytest
import torch
from conftest import section
from ming024_reference import Reference, configurations, random_checkpoint

from fastspeech2 import FastSpeech2, load_ming024
from fastspeech2.settings import ModelSettings
from pipeline.errors import RecipeError

TOLERANCE = 1e-4

SIZES = {
    "small": {},
    "wide": {"hidden": 32, "filter_size": 40, "layers": (1, 1), "predictor": 8, "bins": 256},
    "other kernels": {"kernels": (5, 3), "layers": (3, 2)},
}


def random_batch(lengths: list[int], vocabulary: int = 11, seed: int = 0) -> dict:
    """Draw padded phones, durations, pitch and energy like those of the published training data."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    inside = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    durations = torch.randint(0, 7, shape, generator=generator) * inside
    durations[:, 0] += 1
    return {
        "phones": torch.randint(1, vocabulary, shape, generator=generator) * inside,
        "lengths": torch.tensor(lengths),
        "durations": durations,
        "pitch": torch.randn(shape, generator=generator) * inside,
        "energy": torch.randn(shape, generator=generator) * inside,
    }


def assert_agrees(state: dict, configs: tuple[dict, dict], batch: dict) -> None:
    model = load_ming024(state, *configs)
    assert not model.training
    with torch.no_grad():
        found = model(*(batch[name] for name in ("phones", "lengths")), **{
            name: batch[name] for name in ("durations", "pitch", "energy")
        })  # fmt: skip
    for name, expected in Reference(state, configs)(*batch.values()).items():
        actual = getattr(found, name)
        assert actual.shape == expected.shape, name
        assert float((actual - expected).abs().max()) < TOLERANCE, name


def test_parameters():
    """The published model of 361 symbols has as many, without its two fixed position tables."""
    model = FastSpeech2(section(ModelSettings, "model/ming024.yaml"), vocabulary=361)
    assert sum(parameter.numel() for parameter in model.parameters()) == 34_646_849
    fixed = {name: p.numel() for name, p in model.named_parameters() if not p.requires_grad}
    assert fixed == {"pitch_embedding.edges": 255, "energy_embedding.edges": 255}


# The longest inputs have over 60 frames, beyond the max_seq_len of these checkpoints.
@pytest.mark.parametrize("lengths", [[9], [12, 5, 1], [7, 7, 6, 3], [40, 13]])
@pytest.mark.parametrize("size", SIZES)
def test_outputs_agree_with_the_reference(size, lengths):
    state, configs = random_checkpoint(**SIZES[size]), configurations(**SIZES[size])
    assert_agrees(state, configs, random_batch(lengths))


def test_outputs_agree_with_logarithmic_bins():
    """Values that are not normalised have edges that are evenly spaced on a logarithmic scale."""
    state = random_checkpoint(edges=(0.1, 4.0), log_edges=True)
    batch = random_batch([8, 3])
    batch |= {name: batch[name].exp() * (batch["durations"] > 0) for name in ("pitch", "energy")}
    assert_agrees(state, configurations(quantisation="log"), batch)


def test_a_value_on_an_edge_falls_into_the_bin_below():
    state, batch = random_checkpoint(bins=4, edges=(-1.0, 1.0)), random_batch([3])
    batch["pitch"] = batch["energy"] = torch.tensor([[-1.0, 0.0, 1.0]])
    assert_agrees(state, configurations(bins=4), batch)


@pytest.mark.parametrize("levels", [("frame", "frame"), ("frame", "phone"), ("phone", "frame")])
def test_outputs_agree_with_pitch_or_energy_per_frame(levels):
    batch, features = random_batch([9, 4]), {"phone": "phoneme_level", "frame": "frame_level"}
    frames = batch["durations"].sum(1)
    inside = torch.arange(int(frames.max())) < frames[:, None]
    for name, level in zip(("pitch", "energy"), levels, strict=True):
        if level == "frame":
            batch[name] = torch.randn(inside.shape) * inside
    configs = configurations(pitch=features[levels[0]], energy=features[levels[1]])
    assert_agrees(random_checkpoint(), configs, batch)


def test_errors_say_why_a_checkpoint_does_not_fit():
    state, configs = random_checkpoint(), configurations()
    key = "encoder.layer_stack.1.slf_attn.fc.bias"
    without = {name: value for name, value in state.items() if name != key}
    with pytest.raises(RecipeError, match=f"missing {key}; unknown speaker_emb.weight"):
        load_ming024(without | {"speaker_emb.weight": torch.zeros(1)}, *configs)
    with pytest.raises(RecipeError, match=r"mel_linear.weight .* \[7, 16\] .* but \[80, 16\]"):
        load_ming024(state | {"mel_linear.weight": torch.zeros(7, 16)}, *configs)
    with pytest.raises(RecipeError, match="entry `model` of a checkpoint"):
        load_ming024({"model": state}, *configs)
    with pytest.raises(RecipeError, match="several speakers"):
        load_ming024(state, configs[0] | {"multi_speaker": True}, configs[1])
    with pytest.raises(RecipeError, match="no setting transformer.decoder_hidden"):
        load_ming024(state, {**configs[0], "transformer": {"encoder_hidden": 16}}, configs[1])
    with pytest.raises(RecipeError, match="decoder.position_enc does not hold the sinusoids"):
        load_ming024(state | {"decoder.position_enc": torch.zeros(1, 31, 16)}, *configs)
