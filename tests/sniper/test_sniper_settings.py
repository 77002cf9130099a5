"""SniperSettings that a Sniper refuses before it masks anything."""

import copy

import pytest
import torch
from sniper_cases import assert_sparse, attached, small_batches, small_model, train

from sniper import Sniper, SparsitySchedule, magnitude_scores, random_scores


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_scaling": "tensor"}, "lr_scaling is one of per_tensor, global, none"),
        ({"regrowth": "random"}, "regrowth is one of"),
        ({"allocation": "local"}, "allocation is one of"),
        ({"cap": 0.3}, "smallest cap that works is 0.4"),
        ({"cap": 1.5}, "cap is a fraction between 0 and 1, not 1.5"),
        ({"compat": "refrence"}, "compat is None or 'reference', not 'refrence'"),
        ({"max_lr_scale": -1}, "max_lr_scale is the largest factor, 1 or more, not -1"),
        ({"allocation": "uniform", "redistribute": False}, "need allocation='global'"),
        ({"allocation": "erk", "compat": "reference"}, "need allocation='global'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        attached(**settings)


def test_a_later_sparsity_beyond_the_cap_is_an_error_at_once():
    for allocation in ("global", "uniform", "erk"):
        with pytest.raises(ValueError, match="smallest cap that works is 0.8"):
            attached(SparsitySchedule.cubic(0.0, 0.8, 500), cap=0.75, allocation=allocation)


@pytest.mark.parametrize("sparsity", [0.0, 0.4])
def test_no_scores_are_an_error(sparsity):
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="there are no scores"):
        Sniper(model, optimizer, {}, SparsitySchedule.constant(sparsity))


def test_scores_that_do_not_fit_are_all_named():
    model = small_model()
    optimizer = torch.optim.SGD([model[0].weight, model[3].weight], lr=0.1)
    scores = magnitude_scores(model) | {"7.weight": torch.ones(3)}
    scores["0.weight"] = torch.ones(2, 2)
    with pytest.raises(ValueError) as error:
        Sniper(model, optimizer, scores, SparsitySchedule.constant(0.4))
    for part in ("7.weight is not a parameter", "0.weight has shape", "5.weight is not in the opt"):
        assert part in str(error.value)


def test_a_second_sniper_on_a_model_or_optimizer_is_an_error():
    """For instance when a notebook cell runs twice; both would scale rates and mask gradients."""
    model, optimizer, sniper = attached()
    before = copy.deepcopy(model.state_dict())
    others = [optimizer, torch.optim.SGD(model.parameters(), lr=0.1)]
    for other in others:
        with pytest.raises(ValueError, match="another Sniper is attached"):
            Sniper(model, other, random_scores(model), SparsitySchedule.constant(0.8))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    sniper.detach()
    again = Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.4))
    train(model, optimizer, small_batches(2))
    assert_sparse(model, optimizer, again)
    assert sniper.update == 0 and again.update == 2
