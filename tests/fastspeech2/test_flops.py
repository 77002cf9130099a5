"""FLOPs of FastSpeech2, dense and masked, against counts by hand."""

import pytest
import torch
from conftest import section

from fastspeech2.kernels.select import faster_kernels
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.settings import ModelSettings
from sniper import Switch, count_flops, global_masks, magnitude_scores, prunable_parameters

PHONES, FRAMES = 6, 24


@pytest.fixture(scope="module")
def counted():
    """The model `espnet` and its FLOPs for one sentence."""
    torch.manual_seed(0)
    config = section(ModelSettings, "model/espnet.yaml")
    model = FastSpeech2(config, 50, 80).eval()
    inputs = [torch.ones(1, PHONES).long(), torch.tensor([PHONES]),
              torch.full((1, PHONES), FRAMES // PHONES), *torch.ones(2, 1, PHONES)]  # fmt: skip
    with faster_kernels(frozenset()):
        return model, count_flops(model, lambda m: m(*inputs))


def test_two_layers_counted_by_hand(counted):
    """A convolution of the decoder, and a query, which is joined with key and value for its use.

    Two rows of zeros between utterances are computed too.
    """
    _, flops = counted
    assert flops.weights["decoder.0.expand.weight"] == 2 * (FRAMES + 2) * 1536 * 384 * 3
    assert flops.weights["encoder.0.attention.query.weight"] == 2 * (PHONES + 2) * 384 * 384


def test_all_prunable_weights_are_counted_but_products_with_one_number(counted):
    model, flops = counted
    uncounted = {name for name in prunable_parameters(model) if not flops.weights[name]}
    assert uncounted == {"pitch_embedding.projection.weight", "energy_embedding.projection.weight"}


def test_masks_save_their_share_of_each_layer(counted):
    model, flops = counted
    scores = magnitude_scores(model)
    shares = {}
    for sparsity in (0.4, 0.2, 0.0):
        masks = global_masks(scores, sparsity, cap=0.75)
        shares[sparsity] = {n: 1 - float(mask.double().mean()) for n, mask in masks.items()}
    saved = sum(share * flops.weights[name] for name, share in shares[0.4].items())
    assert flops.forward(shares[0.4]) == pytest.approx(flops.forward() - saved)
    record = [Switch(u, s, s, shares[s]) for u, s in ((0, 0.4), (10, 0.2), (30, 0.0))]
    by_hand = 3 * (10 * flops.forward(shares[0.4]) + 20 * flops.forward(shares[0.2])
                   + 70 * flops.forward())  # fmt: skip
    assert flops.training(record, updates=100) == pytest.approx(by_hand)
