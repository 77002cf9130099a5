"""Optimizers with closures, L-BFGS, earlier updates, exceptions, and counters in their groups."""

import pytest
import torch
from sniper_cases import (
    OPTIMIZERS,
    assert_sparse,
    attached,
    cross_entropy,
    small_batches,
    small_model,
    train,
)

from sniper import Sniper, SparsitySchedule, magnitude_scores


def test_attaching_after_earlier_updates_clears_moments():
    model = small_model()
    optimizer = OPTIMIZERS["adamw decay"](model.parameters())
    train(model, optimizer, small_batches(3))
    sniper = Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.5))
    assert_sparse(model, optimizer, sniper)


@pytest.mark.parametrize("positional", [True, False])
def test_closures(positional):
    """Gradients are computed inside the step, as under Lightning, at unscaled rates."""
    model, optimizer, sniper = attached()
    twin, twin_optimizer, _ = attached()
    for batch in small_batches(4):

        def closure(batch=batch):
            assert [group["lr"] for group in optimizer.param_groups] == [0.01]
            optimizer.zero_grad()
            loss = cross_entropy(model, batch)
            loss.backward()
            return loss

        loss = optimizer.step(closure) if positional else optimizer.step(closure=closure)
        assert loss.item() > 0
        assert_sparse(model, optimizer, sniper)
    train(twin, twin_optimizer, small_batches(4))
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_lbfgs():
    model = small_model()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    schedule = SparsitySchedule.steps({0: 0.4, 2: 0.1})
    with pytest.raises(ValueError, match="LBFGS"):
        Sniper(model, optimizer, magnitude_scores(model), schedule)
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule, lr_scaling="none")
    for batch in small_batches(3):

        def closure(batch=batch):
            optimizer.zero_grad()
            loss = cross_entropy(model, batch)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert_sparse(model, optimizer, sniper)


def test_an_exception_inside_a_step_leaves_no_scaled_rates_in_a_checkpoint():
    model, optimizer, _ = attached()
    train(model, optimizer, small_batches(1))
    state, expected = optimizer.state[model[3].weight], optimizer.state_dict()["param_groups"]
    moment = state.pop("exp_avg")
    cross_entropy(model, small_batches(1)[0]).backward()
    with pytest.raises(KeyError):
        optimizer.step()
    assert optimizer.state_dict()["param_groups"] == expected
    state["exp_avg"] = moment
    optimizer.step()
    assert optimizer.state_dict()["param_groups"] == expected


def test_counters_that_an_optimizer_keeps_in_its_groups():
    class Counting(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                group["calls"] = group.get("calls", 0) + 1
            return super().step(closure)

    model = small_model()
    optimizer = Counting(model.parameters(), lr=0.1)
    Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.4))
    train(model, optimizer, small_batches(3))
    assert [(group["calls"], group["lr"]) for group in optimizer.param_groups] == [(3, 0.1)]
