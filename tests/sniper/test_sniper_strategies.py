"""Strategies that move masks: RigL, SET, a user's own, and the promises that they have to keep."""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sniper_cases import OPTIMIZERS, assert_sparse, cross_entropy, small_batches, small_model, train
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import prune

import sniper
from sniper import SET, RigL, Sniper, SparsitySchedule, magnitude_scores, snip_scores
from sniper.strategies import DropAndGrow, Strategy, View

RISING = SparsitySchedule.steps({0: 0.3, 5: 0.5, 9: 0.6})


def built(strategy, schedule=0.6, optimizer="adamw decay", seed=0, scored=True, **more):
    model = small_model(seed)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    scores = snip_scores(model, cross_entropy, small_batches(2, seed=5)) if scored else None
    return model, optimizer, Sniper(model, optimizer, scores, schedule, strategy=strategy, **more)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([RigL, SET]),
    st.sampled_from(list(OPTIMIZERS)),
    st.sampled_from([0.2, 0.6, 0.9, RISING]),
    st.integers(1, 4),
    st.sampled_from([None, 6, 20]),
    st.sampled_from(["zero", "init"]),
    st.booleans(),
)
def test_invariants(kind, optimizer, schedule, every, until, regrowth, clip):
    """Sparse after every update; moved at the right ones only; grown at the right values."""
    strategy = kind(every=every, until=until, drop=0.4)
    model, optimizer, sniper = built(strategy, schedule, optimizer, regrowth=regrowth)
    initial = copy.deepcopy(small_model().state_dict())
    for update, batch in enumerate(small_batches(12), start=1):
        before, sparsity = sniper.masks, sniper.sparsity
        train(model, optimizer, [batch], clip=0.1 if clip else None)
        assert_sparse(model, optimizer, sniper)
        if sniper.sparsity != sparsity:
            continue
        moves = update % every == 0 and (until is None or update < until)
        for name, mask in sniper.masks.items():
            assert mask.sum() == before[name].sum()
            grown = mask & ~before[name]
            assert moves or not grown.any()
            expected = initial[name] if regrowth == "init" else torch.zeros_like(initial[name])
            assert torch.equal(model.state_dict()[name][grown], expected[grown])


def test_drop_fractions_follow_the_formulas_of_the_papers():
    rigl = RigL(every=100, until=1000, drop=0.3)
    for update in (100, 500, 900):
        assert rigl.fraction(update) == 0.3 / 2 * (1 + math.cos(update * math.pi / 1000))
    assert rigl.fraction(500) == pytest.approx(0.15) and SET(drop=0.3).fraction(9999) == 0.3
    assert [u for u in range(1, 1300) if rigl.acts(u)] == list(range(100, 1000, 100))
    assert [u for u in range(1, 40) if SET(every=17).acts(u)] == [17, 34]


def test_a_worked_example_of_rigl():
    """Twelve weights, six kept, a fraction of 0.5 at half time: one of them (0.25 * 6) moves.

    The smallest kept one is 0.1 at place 2. Of the others, place 9 has the largest gradient of all
    that are not kept, whose largest of all, at place 0, belongs to a kept weight.
    """
    weight = torch.tensor([3.0, 0, 0.1, 0, -2, 1, 0, 0, 5, 0, -0.4, 0]).view(3, 4)
    gradient = torch.tensor([9.0, 1, 3, -2, 8, 7, 0, 1, 8, -4, 8, 0]).view(3, 4)
    view = View(50, {"w": weight}, {"w": weight != 0}, {"w": gradient})
    kept = RigL(every=50, until=100, drop=0.5).masks(view)["w"].flatten()
    assert kept.nonzero().flatten().tolist() == [0, 4, 5, 8, 9, 10]
    # With a larger gradient there, the dropped weight grows again.
    gradient.view(-1)[2] = -5
    assert torch.equal(RigL(every=50, until=100, drop=0.5).masks(view)["w"], weight != 0)
    # Three quarters of the time: 0.5 / 2 * (1 + cos(3/4 pi)) = 0.073 of 6 is none.
    late = View(75, view.weights, view.masks, view.gradients)
    assert torch.equal(RigL(every=25, until=100, drop=0.5).masks(late)["w"], weight != 0)
    # SET drops the same one, and two at a constant fraction of 0.4.
    moved = SET(every=50, drop=0.4).masks(view)["w"]
    assert moved.sum() == 6 and {0, 4, 5, 8} <= set(moved.flatten().nonzero().flatten().tolist())


def test_rigl_in_training_equals_a_loop_by_hand():
    """Dense gradients come from a copy of the model, before clipping."""
    model, optimizer, sniper = built(RigL(every=2, until=9, drop=0.5), optimizer="momentum",
                                     lr_scaling="none")  # fmt: skip
    masks, moved = sniper.masks, 0
    for update, (first, second) in enumerate(
        zip(small_batches(9), small_batches(9, seed=3), strict=True), start=1
    ):
        twin = copy.deepcopy(model)
        (cross_entropy(twin, first) + cross_entropy(twin, second)).backward()
        optimizer.zero_grad()
        for batch in (first, second):  # accumulated
            cross_entropy(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()
        for name, mask in masks.items() if update % 2 == 0 else ():
            count = int(0.25 * (1 + math.cos(math.pi * update / 9)) * int(mask.sum()))
            grown, kept = sniper.masks[name] & ~mask, sniper.masks[name]
            assert int(grown.sum()) == int((mask & ~kept).sum()) <= count
            gradient = twin.get_parameter(name).grad.abs()
            if grown.any() and not kept.all():  # no weight that stays out has a larger gradient
                assert gradient[grown].min() >= gradient[~kept].max() * (1 - 1e-4)
            moved += int(grown.sum())
        masks = sniper.masks
        assert_sparse(model, optimizer, sniper)
    assert moved > 20


@pytest.mark.parametrize("strategy", [RigL(every=3, until=14), SET(every=2, drop=0.5)])
@pytest.mark.parametrize("schedule", [0.6, RISING])
@pytest.mark.parametrize("stop", [0, 1, 2, 3, 4, 6, 9, 13])
def test_resume_with_the_same_bits(tmp_path, strategy, schedule, stop):
    batches = small_batches(15)
    whole = built(strategy, schedule)
    train(*whole[:2], batches[:stop], clip=0.5)
    torch.save([part.state_dict() for part in whole], tmp_path / "checkpoint.pt")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = built(strategy, schedule, seed=9, scored=False)
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    for parts in (whole, resumed):
        train(*parts[:2], batches[stop:], clip=0.5)
    for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(torch.equal(whole[2].masks[n], mask) for n, mask in resumed[2].masks.items())
    assert whole[2].record == resumed[2].record


def test_another_strategy_on_a_resume_is_an_error():
    saved = built(RigL(every=3, until=14))[2].state_dict()
    for other in (RigL(every=4, until=14), SET(every=3, until=14), None):
        sniper = built(other, scored=False, regrowth="zero")[2]
        with pytest.raises(ValueError, match="settings changed since the checkpoint: strategy"):
            sniper.load_state_dict(saved)


def test_gradients_that_were_thrown_away_do_not_count():
    """A backward pass whose gradients are dropped, as for an update that a loop skips."""
    parts = built(RigL(every=1, drop=0.5)), built(RigL(every=1, drop=0.5))
    for model, optimizer, _ in parts[:1]:
        cross_entropy(model, small_batches(1, seed=8)[0]).backward()
        optimizer.zero_grad()
    for model, optimizer, _ in parts:
        train(model, optimizer, small_batches(2))
    assert all(torch.equal(parts[0][2].masks[n], mask) for n, mask in parts[1][2].masks.items())


@dataclass
class Unlike(Strategy):
    """Different masks in each process."""

    rank: int

    def masks(self, view):
        return {name: mask.roll(self.rank) for name, mask in view.masks.items()}


def trained(strategy, batches, wrap=lambda model: model):
    """Train by SGD with gradients summed over two batches; return the masks at the end."""
    model = wrap(small_model())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sniper = Sniper(model, optimizer, magnitude_scores(model), 0.6, strategy=strategy)
    for batch in batches:
        optimizer.zero_grad()
        (sum(cross_entropy(model, each) for each in batch) / len(batch)).backward()
        optimizer.step()
    return sniper.masks


def worker(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    own = [[batch] for batch in small_batches(16)[rank::2]]
    strategies = [RigL(every=2, drop=0.5), SET(every=2)]
    found = [trained(each, own, DistributedDataParallel) for each in strategies]
    try:
        trained(Unlike(rank), own, DistributedDataParallel)
    except ValueError as error:
        found.append(str(error))
    torch.save(found, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def test_processes_agree_on_masks_or_are_told(tmp_path):
    torch.multiprocessing.start_processes(
        worker, args=(str(tmp_path),), nprocs=2, start_method="forkserver"
    )
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    for a, b in zip(first[:2], second[:2], strict=True):
        assert all(torch.equal(a[name], mask) for name, mask in b.items())
    assert "masks differ between process 0 and processes 1" in first[2]
    # RigL sees the gradients of both, as one process does that has both batches of an update.
    batches = small_batches(16)
    alone = trained(RigL(every=2, drop=0.5), list(zip(batches[::2], batches[1::2], strict=True)))
    assert all(torch.equal(first[0][name], mask) for name, mask in alone.items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": {0: 0.4, 5: 0.2}}, "RigL moves masks under a sparsity that does not fall"),
        ({"schedule": 0.0}, "nothing to move, as the schedule is dense"),
        ({"pattern": "1:2", "schedule": 0.5}, "would not keep the pattern 1:2"),
        ({"pruned": "frozen", "regrowth": "init"}, "cannot be had with pruned='frozen'"),
        ({"strategy": "rigl"}, "has no method masks"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(settings, message):
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given = {"schedule": 0.4, "strategy": RigL()} | settings
    with pytest.raises(ValueError, match=message):
        Sniper(model, optimizer, magnitude_scores(model), **given)
    for a, b in zip(model.parameters(), small_model().parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("wrong", [{"every": 0}, {"until": 0}, {"drop": 0.0}, {"drop": 1.5}])
def test_strategies_check_their_own_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RigL(**wrong)


@pytest.mark.parametrize("masks", [torch.ones(3, dtype=torch.bool), torch.ones(10, 48)])
def test_masks_of_another_shape_or_kind_are_refused(masks):
    class Wrong(Strategy):
        def masks(self, view):
            return {"3.weight": masks}

    model, optimizer, _ = built(Wrong())
    with pytest.raises(ValueError, match="Wrong has to return bool masks"):
        train(model, optimizer, small_batches(1))


def test_a_strategy_may_change_the_sparsity_and_it_is_recorded():
    class Shrink(Strategy):
        every = 2

        def masks(self, view):
            return {"3.weight": view.masks["3.weight"] & (view.weights["3.weight"].abs() > 0.05)}

    model, optimizer, sniper = built(Shrink())
    train(model, optimizer, small_batches(3))
    assert [switch.update for switch in sniper.record] == [0, 2]
    kept = (model[3].weight != 0).double().mean()
    assert sniper.record[-1].tensors["3.weight"] == pytest.approx(1 - float(kept))


def test_the_base_class_grows_nothing_by_itself():
    with pytest.raises(NotImplementedError):
        DropAndGrow().masks(View(1, {"w": torch.ones(2)}, {"w": torch.ones(2) > 0}, {}))


def readme_block(word):
    """The code block of sniper/README.md that contains a word."""
    text = (Path(sniper.__file__).parent / "README.md").read_text("utf-8")
    return next(block for block in text.split("```python\n")[1:] if word in block).split("```")[0]


def test_the_strategy_of_the_readme_runs_as_printed():
    code = readme_block("FillRows")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = {"Sniper": Sniper, "model": model, "optimizer": optimizer,
             "scores": magnitude_scores(model)}  # fmt: skip
    exec(code.replace("every=100", "every=2"), found)
    before = found["sniper"].masks
    train(model, optimizer, small_batches(4))
    assert_sparse(model, optimizer, found["sniper"])
    assert any(not torch.equal(before[n], mask) for n, mask in found["sniper"].masks.items())


def test_flops_and_export_of_the_readme_run_as_printed(tmp_path):
    model, optimizer, attached = built(None, {0: 0.6, 2: 0.2})
    train(model, optimizer, small_batches(3))
    pruned_model = small_model()
    prune.random_unstructured(pruned_model[3], "weight", amount=0.3)
    found = vars(sniper) | {"model": model, "loss_fn": cross_entropy, "torch": torch}
    found |= {"batch": small_batches(1)[0], "sniper": attached, "pruned_model": pruned_model}
    found["path"] = tmp_path / "compact.pt"
    masks_again = "masks = imported_masks"
    before, after = readme_block("count_flops").split(masks_again)
    exec(before, found)
    model = small_model()
    found |= {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    exec((masks_again + after).replace('"sparsity.png"', "picture"),
         found | {"picture": tmp_path / "sparsity.png"})  # fmt: skip
    state = sniper.expand(torch.load(tmp_path / "compact.pt", weights_only=True))
    assert torch.equal(state["3.weight"], found["sniper"]._model[3].weight)
    assert (tmp_path / "sparsity.png").stat().st_size > 0
