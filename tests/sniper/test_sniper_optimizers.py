"""Optimizers with closures, L-BFGS, earlier updates, exceptions, and counters in their groups."""

import gc
from collections import deque

import pytest
import torch
from sniper_cases import (
    OPTIMIZERS,
    ToyOptimizer,
    assert_sparse,
    attached,
    cross_entropy,
    small_batches,
    small_model,
    train,
)
from torch import nn

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


class Centralising(torch.optim.Adam):
    """Subtracts the mean of each row from gradients, so pruned weights have gradients again."""

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            if p.grad.dim() > 1:
                p.grad.sub_(p.grad.mean(1, keepdim=True))
        return super().step(closure)


class Delayed(ToyOptimizer):
    """Steps by the gradients of two updates before, which it keeps in a queue."""

    def update(self, p, state, lr):
        queue = state.setdefault("grad_queue", deque(maxlen=3))
        queue.append(p.grad.clone())
        average = state.setdefault("exp_avg", torch.zeros_like(p))
        average.mul_(0.9).add_(queue[0])
        p.sub_(lr * average)


@pytest.mark.parametrize("kind", [Centralising, Delayed])
def test_moments_of_optimizers_that_mix_or_delay_gradients(kind):
    torch.optim.Adam(small_model().parameters())  # from now on its step runs hooks
    model = small_model()
    optimizer = kind(model.parameters(), lr=0.01)
    schedule = SparsitySchedule.steps({0: 0.3, 4: 0.6, 7: 0.2})
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule, lr_scaling="none")
    for batch in small_batches(9):
        train(model, optimizer, [batch])
        assert_sparse(model, optimizer, sniper)


class Pairs(torch.optim.SGD):
    """Multiplies neighbouring parameters, like optimizers of the two factors of LoRA."""

    def step(self, closure=None):
        for group in self.param_groups:
            for a, b in zip(group["params"][::2], group["params"][1::2], strict=True):
                assert a.dim() > b.dim() and group["lr"]


def test_an_optimizer_that_fails_with_split_groups_is_told():
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    optimizer = Pairs(model.parameters(), lr=0.1)
    sniper = Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.5))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    with pytest.warns(UserWarning, match="Pairs has failed in its first step .*'global'"):
        with pytest.raises(ValueError):
            optimizer.step()
        gc.collect()
    sniper.detach()
    Sniper(model, optimizer, magnitude_scores(model), 0.5, lr_scaling="global")
    optimizer.step()


def test_a_wrapper_without_groups_is_refused_by_name():
    class Half:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    model = small_model()
    optimizer = Half(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="Half has no param_groups: give the optimizer that it"):
        Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.5))
