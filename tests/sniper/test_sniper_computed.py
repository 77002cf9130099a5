"""Weights that are computed from other parameters: weight norm, LoRA, spectral norm."""

import copy

import pytest
import torch
from sniper_cases import cross_entropy, small_batches, small_model, train
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from sniper import (
    RigL,
    Sniper,
    SparsitySchedule,
    grasp_scores,
    magnitude_scores,
    mask_computed_weights,
    prunable_parameters,
    random_scores,
    snip_scores,
    synflow_scores,
)

BATCHES = small_batches(10)
FALLING = SparsitySchedule.steps({0: 0.6, 3: 0.3, 6: 0.0})


class LowRank(nn.Module):
    """LoRA: adds a product of two small factors to a frozen weight."""

    def __init__(self, rows, columns, rank=2):
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, columns))
        self.b = nn.Parameter(torch.randn(rows, rank))

    def forward(self, weight):
        return weight + self.b @ self.a


def weight_norm(model):
    for number in (0, 3, 5):
        parametrizations.weight_norm(model[number])


def low_rank(model):
    parametrize.register_parametrization(model[3], "weight", LowRank(10, 48))
    model[3].parametrizations.weight.original.requires_grad_(False)


def built(change, schedule=FALLING, seed=0, scored=True, **settings):
    model = small_model(seed)
    change(model)
    mask_computed_weights(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    scores = snip_scores(model, cross_entropy, BATCHES[:2]) if scored else None
    return model, optimizer, Sniper(model, optimizer, scores, schedule, **settings)


def weight_and_mask(model, masks):
    """Yield the present value of each prunable weight, and its mask."""
    for name, mask in masks.items():
        path = name.split(".parametrizations.")[0].removesuffix(".weight")
        yield model.get_submodule(path).weight.detach(), mask


@pytest.mark.parametrize("change", [weight_norm, low_rank])
def test_computed_weights_are_sparse_after_every_update(change):
    model, optimizer, sniper = built(change)
    assert len(sniper.masks) == 3 and any("parametrizations" in name for name in sniper.masks)
    for batch in BATCHES[:8]:
        pruned = 0
        for weight, mask in weight_and_mask(model, sniper.masks):
            assert not weight[~mask].any() and weight[mask].all()
            pruned += int((~mask).sum())
        assert pruned == int(sniper.sparsity * sum(m.numel() for m in sniper.masks.values()))
        train(model, optimizer, [batch], clip=0.5)
    assert sniper.sparsity == 0 and [each.update for each in sniper.record] == [0, 3, 6]


def test_preparing_changes_no_output_and_no_gradient():
    model = small_model()
    weight_norm(model)
    twin = copy.deepcopy(model)
    names = mask_computed_weights(model)
    assert names == mask_computed_weights(model) == list(prunable_parameters(model))
    for each in (model, twin):
        cross_entropy(each, BATCHES[0]).backward()
    assert torch.equal(model(BATCHES[1][0]), twin(BATCHES[1][0]))
    for name, p in twin.named_parameters():
        assert torch.equal(model.get_parameter(name).grad, p.grad)


def test_snip_scores_are_those_of_the_weights_themselves():
    model = small_model()
    plain = copy.deepcopy(model)
    weight_norm(model)
    mask_computed_weights(model)
    expected = snip_scores(plain, cross_entropy, BATCHES[:3])
    found = snip_scores(model, cross_entropy, BATCHES[:3])
    for (name, score), magnitude in zip(
        found.items(), magnitude_scores(model).values(), strict=True
    ):
        weight = f"{name.split('.')[0]}.weight"
        torch.testing.assert_close(score, expected[weight])
        torch.testing.assert_close(magnitude, plain.get_parameter(weight).detach().abs())
    assert not any(model.get_parameter(name).requires_grad for name in found)
    assert list(random_scores(model)) == list(found)


def test_training_equals_one_that_masks_the_weight_by_hand():
    model = small_model()
    weight_norm(model)
    plain = copy.deepcopy(model)
    mask_computed_weights(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    schedule = SparsitySchedule.constant(0.5)
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule, lr_scaling="none")
    masks = {name.split(".")[0]: mask for name, mask in sniper.masks.items()}
    by_hand = torch.optim.SGD(plain.parameters(), lr=0.1)
    for x, y in BATCHES[:6]:
        train(model, optimizer, [(x, y)])
        weights = {n: plain.get_submodule(n).weight * mask for n, mask in masks.items()}
        hidden = torch.tanh(nn.functional.conv1d(x, weights["0"], plain[0].bias, padding=1))
        hidden = plain[4](nn.functional.linear(hidden.flatten(1), weights["3"], plain[3].bias))
        by_hand.zero_grad()
        output = nn.functional.linear(hidden, weights["5"], plain[5].bias)
        nn.functional.cross_entropy(output, y).backward()
        by_hand.step()
    for name, p in plain.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), p)


def test_a_rise_prunes_the_smallest_computed_weights():
    model, optimizer, sniper = built(weight_norm, SparsitySchedule.steps({0: 0.2, 4: 0.6}))
    train(model, optimizer, BATCHES[:3])
    before, twin, steps = sniper.masks, *copy.deepcopy((model, optimizer))
    train(model, optimizer, BATCHES[3:4])
    train(twin, steps, BATCHES[3:4])
    values = [w for w, _ in weight_and_mask(twin, before)]
    masks, former = list(sniper.masks.values()), list(before.values())
    kept = torch.cat([w[m].abs() for w, m in zip(values, masks, strict=True)])
    gone = torch.cat([w[f & ~m].abs() for w, m, f in zip(values, masks, former, strict=True)])
    assert len(gone) and kept.min() >= gone.max()


@pytest.mark.parametrize("change", [weight_norm, low_rank])
@pytest.mark.parametrize("stop", [2, 3, 7])
def test_resume(tmp_path, change, stop):
    whole = built(change)
    train(*whole[:2], BATCHES[:stop])
    torch.save([part.state_dict() for part in whole], tmp_path / "checkpoint.pt")
    resumed = built(change, seed=7, scored=False)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    for parts in (whole, resumed):
        train(*parts[:2], BATCHES[stop:])
    for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: parametrizations.spectral_norm(m[3]), r"3\.weight \(its norm would not be 1"),
        (lambda m: parametrizations.orthogonal(m[3]), r"3\.weight \(it would not be orthogonal"),
        (
            lambda m: parametrizations.weight_norm(m.append(nn.LSTM(2, 2))[-1], "weight_hh_l0"),
            r"6\.weight_hh_l0 \(recurrent layers",
        ),
    ],
)
def test_what_cannot_be_masked_is_refused_by_name(change, message):
    model = small_model()
    parametrizations.weight_norm(model[5])
    change(model)
    before = str(model)
    with pytest.raises(ValueError, match=message):
        mask_computed_weights(model)
    assert str(model) == before


def test_older_hooks_and_layers_of_lora_are_refused_by_name():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 4))
    model[1].lora_A = nn.ModuleDict({"default": nn.Linear(4, 2)})
    model[1].lora_B = nn.ModuleDict({"default": nn.Linear(2, 4)})
    with pytest.raises(ValueError, match=r"0\.weight and 1\.weight cannot be masked, being comp"):
        prunable_parameters(model)
    names = ["1.lora_A.default.weight", "1.lora_B.default.weight"]
    assert list(prunable_parameters(model, include=names)) == names
    scores = {"0.weight_v": torch.rand(4, 3)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"0\.weight_v is divided by its norm"):
        Sniper(model, optimizer, scores, 0.5)
    parametrizations.weight_norm(model[1])
    scores = {"1.parametrizations.weight.original1": torch.rand(4, 4)}
    with pytest.raises(ValueError, match=r"original1 is divided by its norm"):
        Sniper(model, torch.optim.SGD(model.parameters(), lr=0.1), scores, 0.5)


def test_what_is_under_a_spectral_norm_can_be_pruned_itself():
    model = small_model()
    parametrizations.spectral_norm(model[3])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    name = "3.parametrizations.weight.original"
    scores = magnitude_scores(model, include=name)  # beside those of the other layers
    sniper = Sniper(model, optimizer, scores, FALLING)
    for batch in BATCHES[:5]:
        train(model, optimizer, [batch])
        mask = sniper.masks[name]
        assert not model[3].weight[~mask].any() and model[3].weight[mask].all()


@pytest.mark.parametrize("settings", [{"regrowth": "zero"}, {"strategy": RigL()}])
def test_settings_that_do_not_fit_computed_weights_are_refused(settings):
    with pytest.raises(ValueError, match="0.parametrizations.weight.1.mask.* regrowth='init'"):
        built(weight_norm, 0.5, **settings)


@pytest.mark.parametrize(
    "score",
    [
        lambda m: grasp_scores(m, cross_entropy, BATCHES[:1]),
        lambda m: synflow_scores(m, lambda m: m(torch.ones(1, 2, 8))),
    ],
)
def test_scores_that_are_not_defined_for_computed_weights_are_refused(score):
    model = small_model()
    weight_norm(model)
    mask_computed_weights(model)
    with pytest.raises(ValueError, match="0.parametrizations.weight.1.mask.* use snip_scores"):
        score(model)
