"""A training that is stopped anywhere and resumed ends with the same bits."""

import itertools
import multiprocessing
import os
import signal

import pytest
import torch
from sniper_cases import (
    OPTIMIZERS,
    cross_entropy,
    small_batches,
    small_model,
    train,
)

from sniper import Sniper, SparsitySchedule, magnitude_scores, snip_scores

STEPS = SparsitySchedule.steps({0: 0.6, 4: 0.3, 8: 0.1, 12: 0.0})
MIXED = SparsitySchedule.steps({0: 0.3, 4: 0.6, 8: 0.2, 12: 0.5})
BATCHES = small_batches(15)


def built(schedule, scores="dummy", seed=9, optimizer="adamw decay", regrowth="init"):
    model = small_model(seed)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: (u + 1) ** -0.5)
    if scores == "dummy":
        scores = magnitude_scores(model)
    elif scores == "true":
        scores = snip_scores(model, cross_entropy, BATCHES[:2])
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "sniper": Sniper(model, optimizer, scores, schedule, cap=0.9, regrowth=regrowth),
    }


def states(parts, path):
    torch.save({name: part.state_dict() for name, part in parts.items()}, path)
    return torch.load(path, weights_only=True)


def go_on(parts, start, stop=None):
    train(parts["model"], parts["optimizer"], BATCHES[start:stop], parts["scheduler"], clip=0.5)


def assert_equal(parts, others):
    for a, b in zip(parts["model"].parameters(), others["model"].parameters(), strict=True):
        assert torch.equal(a, b)
    masks = others["sniper"].masks
    assert all(torch.equal(mask, masks[name]) for name, mask in parts["sniper"].masks.items())
    assert parts["sniper"].learning_rates() == others["sniper"].learning_rates()
    assert parts["sniper"].record == others["sniper"].record
    assert parts["sniper"].update == others["sniper"].update


@pytest.mark.parametrize("schedule", [STEPS, MIXED], ids=["falling", "rising and falling"])
@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13])
def test_resume_around_every_switch(tmp_path, schedule, stop):
    whole = built(schedule, "true", seed=0)
    go_on(whole, 0, stop)
    saved = states(whole, tmp_path / "checkpoint.pt")
    resumed = built(schedule, scores=None)
    for name, part in resumed.items():
        part.load_state_dict(saved[name])
    assert_equal(resumed, whole)
    go_on(whole, stop)
    go_on(resumed, stop)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("scores", [None, "dummy", "true"])
@pytest.mark.parametrize("order", list(itertools.permutations(["model", "optimizer", "sniper"])))
def test_states_may_be_loaded_in_any_order(tmp_path, order, scores):
    whole = built(STEPS, "true", seed=0)
    go_on(whole, 0, 6)
    saved = states(whole, tmp_path / "checkpoint.pt")
    go_on(whole, 6)
    resumed = built(STEPS, scores)
    for name in (*order, "scheduler"):
        resumed[name].load_state_dict(saved[name])
    go_on(resumed, 6)
    assert_equal(resumed, whole)


def test_weights_that_returned_at_zero_are_not_mistaken_for_pruned_ones(tmp_path):
    whole = built(STEPS, "true", seed=0, regrowth="zero")
    go_on(whole, 0, 4)  # right after the switch
    saved = states(whole, tmp_path / "checkpoint.pt")
    go_on(whole, 4)
    resumed = built(STEPS, "true", seed=0, regrowth="zero")
    for name in ("model", "optimizer", "sniper", "scheduler"):
        resumed[name].load_state_dict(saved[name])
    go_on(resumed, 4)
    assert_equal(resumed, whole)


@pytest.mark.parametrize("optimizer", ["momentum", "adamw decay", "adamw fused"])
@pytest.mark.parametrize("regrowth", ["init", "zero"])
def test_sniper_may_be_built_on_the_loaded_model_with_scores(tmp_path, optimizer, regrowth):
    """Construction prunes weights that had returned already; loading the state restores them."""

    def attached(parts):
        scores = magnitude_scores(small_model(0))
        sniper = Sniper(parts["model"], parts["optimizer"], scores, STEPS, regrowth=regrowth)
        return {**parts, "sniper": sniper}

    dense = SparsitySchedule.constant(0)
    whole = attached(built(dense, seed=0, optimizer=optimizer))
    go_on(whole, 0, 6)
    saved = states(whole, tmp_path / "checkpoint.pt")
    go_on(whole, 6)
    resumed = built(dense, optimizer=optimizer)
    for name in ("model", "optimizer", "scheduler"):
        resumed[name].load_state_dict(saved[name])
    resumed = attached(resumed)
    resumed["sniper"].load_state_dict(saved["sniper"])
    go_on(resumed, 6)
    assert_equal(resumed, whole)


def test_changed_settings_and_missing_states_are_errors(tmp_path):
    parts = built(STEPS)
    saved = states(parts, tmp_path / "checkpoint.pt")["sniper"]
    parts["sniper"].detach()
    other = Sniper(parts["model"], parts["optimizer"], None, STEPS, cap=0.7, regrowth="zero")
    with pytest.raises(ValueError, match=r"cap \(0.9 then, 0.7 now\), regrowth \(init then"):
        other.load_state_dict(saved)
    with pytest.raises(ValueError, match="0.weight is not a parameter of the model"):
        smaller = torch.nn.Linear(3, 2)
        optimizer = torch.optim.SGD(smaller.parameters(), lr=0.1)
        Sniper(smaller, optimizer, None, STEPS, cap=0.9).load_state_dict(saved)
    waiting = built(STEPS, scores=None)
    with pytest.raises(RuntimeError, match="load_state_dict first"):
        go_on(waiting, 0)


def worker(path, kill_at):
    """Resume from `path` if it exists, save after each update, die after update `kill_at`."""
    torch.set_num_threads(1)
    resuming = path.exists()
    parts = built(STEPS, None if resuming else "true", seed=9 if resuming else 0)
    if resuming:
        for name, state in torch.load(path, weights_only=True).items():
            parts[name].load_state_dict(state)
    for update in range(parts["sniper"].update, len(BATCHES)):
        go_on(parts, update, update + 1)
        states(parts, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
        if parts["sniper"].update == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(path, kill_at):
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=worker, args=(path, kill_at))
    process.start()
    process.join()
    assert process.exitcode == (-signal.SIGKILL if kill_at else 0)


def finished(path):
    """Load what the last process has saved in `path`."""
    parts = built(STEPS, None)
    for name, state in torch.load(path, weights_only=True).items():
        parts[name].load_state_dict(state)
    return parts


def test_killed_processes(tmp_path):
    """Kill one process after another just before, at and just after the switch at update 8."""
    for kill_at in (7, 8, 9, None):
        in_a_process(tmp_path / "killed.pt", kill_at)
    # In a separate process too, since results depend on the number of threads.
    in_a_process(tmp_path / "whole.pt", None)
    assert_equal(finished(tmp_path / "killed.pt"), finished(tmp_path / "whole.pt"))


def test_the_state_can_ride_in_that_of_the_optimizer(tmp_path):
    """As in the README, for trainers that know model, optimizer and scheduler alone."""

    def attach(model, optimizer, schedule, scores):
        sniper = Sniper(model, optimizer, scores, schedule)
        optimizer.register_state_dict_post_hook(
            lambda o, state: state | {"sniper": sniper.state_dict()}
        )
        optimizer.register_load_state_dict_pre_hook(
            lambda o, state: sniper.load_state_dict(state["sniper"]) if "sniper" in state else None
        )
        return {"model": model, "optimizer": optimizer, "sniper": sniper}

    def parts(seed, scores):
        model = small_model(seed)
        optimizer = OPTIMIZERS["adamw decay"](model.parameters())
        scores = magnitude_scores(model) if scores else None
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: (u + 1) ** -0.5)
        return attach(model, optimizer, STEPS, scores) | {"scheduler": scheduler}

    whole = parts(0, True)
    go_on(whole, 0, 6)
    known = {name: whole[name] for name in ("model", "optimizer", "scheduler")}
    saved = states(known, tmp_path / "checkpoint.pt")
    resumed = parts(9, False)
    for name, state in saved.items():
        resumed[name].load_state_dict(state)
    for each in (whole, resumed):
        go_on(each, 6)
    assert_equal(whole, resumed)
