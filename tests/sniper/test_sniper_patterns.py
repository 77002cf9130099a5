"""N:M and block patterns, groups of parameters, and alternating phases."""

import copy

import pytest
import torch
from sniper_cases import OPTIMIZERS, assert_sparse, cross_entropy, small_batches, train
from torch import nn

from sniper import (
    SET,
    RigL,
    Sniper,
    SparsitySchedule,
    magnitude_scores,
    prunable_parameters,
    snip_scores,
)

FALLING = SparsitySchedule.steps({0: 0.75, 3: 0.5, 6: 0.25, 9: 0.0})
RISING_AND_FALLING = SparsitySchedule.steps({0: 0.5, 3: 0.75, 6: 0.25, 9: 0.5})


def even_model(seed=0):
    """Like `small_model`, with sizes that four divides."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv1d(4, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(64, 12),
        nn.LayerNorm(12), nn.Linear(12, 4),
    )  # fmt: skip


def even_batches(count, seed=1):
    return [(torch.cat([x, x.flip(1)], 1), y) for x, y in small_batches(count, seed)]


def built(schedule, seed=0, scored=True, optimizer="adamw decay", **settings):
    model = even_model(seed)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    scores = snip_scores(model, cross_entropy, even_batches(2, seed=5)) if scored else None
    return model, optimizer, Sniper(model, optimizer, scores, schedule, **settings)


def rows_of_four(mask):
    """Rows along dimension 1: `[rows, 4]`."""
    return mask.movedim(1, -1).reshape(-1, 4)


@pytest.mark.parametrize("schedule", [FALLING, RISING_AND_FALLING])
def test_n_of_m_are_kept_in_every_row_after_every_update(schedule):
    model, optimizer, sniper = built(schedule, pattern="1:4")
    initial = copy.deepcopy(even_model().state_dict())
    for batch in even_batches(11):
        before, sparsity = sniper.masks, sniper.sparsity
        train(model, optimizer, [batch])
        assert_sparse(model, optimizer, sniper)
        kept = round(4 * (1 - sniper.sparsity))
        for name, mask in sniper.masks.items():
            assert (rows_of_four(mask).sum(1) == kept).all()
            grown = mask & ~before[name]
            assert torch.equal(model.state_dict()[name][grown], initial[name][grown])
            if sniper.sparsity <= sparsity:
                assert not (before[name] & ~mask).any()


def test_the_highest_scores_of_a_row_are_kept():
    model, _, sniper = built(0.5, pattern="2:4")
    scores = snip_scores(even_model(), cross_entropy, even_batches(2, seed=5))
    for name, mask in sniper.masks.items():
        rows, score = rows_of_four(mask), rows_of_four(scores[name])
        lowest_kept = score.masked_fill(~rows, torch.inf).min(1).values
        assert (lowest_kept >= score.masked_fill(rows, -torch.inf).max(1).values).all()
        assert ((model.get_parameter(name) != 0) == mask).all()


@pytest.mark.parametrize(("pattern", "rows", "columns"), [("4x1", 4, 1), ("1x4", 1, 4),
                                                         ("2x2", 2, 2)])  # fmt: skip
@pytest.mark.parametrize("more", [{}, {"cap": 0.8}, {"allocation": "uniform"}])
def test_blocks_are_pruned_and_return_whole(pattern, rows, columns, more):
    model, optimizer, sniper = built(RISING_AND_FALLING, pattern=pattern, **more)
    for batch in even_batches(11):
        train(model, optimizer, [batch])
        total = kept = 0
        for name, mask in sniper.masks.items():
            blocks = mask.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))
            whole = blocks.sum((1, 3))
            assert ((whole == 0) | (whole == rows * columns)).all()
            assert not model.get_parameter(name)[~mask].any()
            total, kept = total + mask.numel(), kept + int(mask.sum())
        assert abs((total - kept) / total - sniper.sparsity) < 4 * 3 / total + (0.03 if more else 0)


def test_blocks_of_the_highest_mean_score_are_kept():
    _, _, sniper = built(0.5, pattern="4x1")
    scores = snip_scores(even_model(), cross_entropy, even_batches(2, seed=5))
    means, kept = [], []
    for name, mask in sniper.masks.items():
        means.append(scores[name].unflatten(0, (-1, 4)).double().mean(1).flatten())
        kept.append(mask.unflatten(0, (-1, 4)).all(1).flatten())
    means, kept = torch.cat(means), torch.cat(kept)
    assert means[kept].min() >= means[~kept].max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "4:2"}, "pattern is like '2:4'"),
        ({"pattern": "2/4"}, "pattern is like '2:4'"),
        ({"pattern": "2:4", "schedule": 0.4}, "the pattern 2:4 has a highest sparsity of 0.5"),
        ({"pattern": "1:4", "schedule": {0: 0.75, 3: 0.4}}, "multiples of 1/4, not 0.75, 0.4"),
        ({"pattern": "4:8"}, r"does not divide 0.weight \(8, 4, 3\), 5.weight \(4, 12\)"),
        ({"pattern": "8x1"}, r"does not divide 3.weight \(12, 64\), 5.weight \(4, 12\)"),
        ({"pattern": "2:4", "min_density": 0.6}, "all tensors the same sparsity"),
        ({"pattern": "2:4", "allocation": "erk"}, "all tensors the same sparsity"),
        ({"pattern": "2:4", "cap": 0.4}, "the smallest cap that works is 0.5"),
        ({"pattern": "2x2", "compat": "reference"}, "would not be kept by compat"),
    ],
)
def test_patterns_that_cannot_be_kept_are_refused(settings, message):
    model = even_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=message):
        Sniper(model, optimizer, magnitude_scores(model), **{"schedule": 0.5} | settings)
    for a, b in zip(model.parameters(), even_model().parameters(), strict=True):
        assert torch.equal(a, b)


# ---- groups

GROUPS = {
    "3.*": {"schedule": {0: 0.8, 4: 0.4, 8: 0.0}, "cap": 0.9},
    "5.*": {"schedule": 0.5, "strategy": RigL(every=2), "allocation": "uniform"},
}


def group_sparsities(sniper):
    return {n: 1 - float(mask.double().mean()) for n, mask in sniper.masks.items()}


def test_groups_follow_their_own_schedules_and_thresholds():
    model, optimizer, sniper = built({0: 0.25, 6: 0.0}, groups=GROUPS)
    alone = magnitude_scores(model)
    assert alone.keys() == sniper.masks.keys()
    levels = {"0.weight": {0: 0.25, 6: 0.0}, "3.weight": GROUPS["3.*"]["schedule"],
              "5.weight": {0: 0.5}}  # fmt: skip
    wanted = {name: SparsitySchedule(level) for name, level in levels.items()}
    sizes = {name: p.numel() for name, p in prunable_parameters(model).items()}
    moved = 0
    for update, batch in enumerate(even_batches(10), start=1):
        before = sniper.masks
        train(model, optimizer, [batch])
        found = group_sparsities(sniper)
        for name, schedule in wanted.items():
            assert found[name] == pytest.approx(schedule(update), abs=1 / sizes[name])
            assert not model.get_parameter(name)[~sniper.masks[name]].any()
        moved += int((before["5.weight"] & ~sniper.masks["5.weight"]).sum())
        nominal = sum(sizes[n] * wanted[n](update) for n in sizes) / sum(sizes.values())
        assert sniper.sparsity == pytest.approx(nominal)
    assert moved > 0
    assert [switch.update for switch in sniper.record] == [0, 4, 6, 8]
    assert sniper.record[1].achieved == pytest.approx(sniper.record[1].nominal, abs=0.01)


def test_a_group_is_masked_as_it_would_be_alone():
    model = even_model()
    scores = snip_scores(model, cross_entropy, even_batches(2, seed=5))
    whole = built(0.25, groups={"[03].*": {"schedule": 0.6, "cap": 0.7}})[2].masks
    part = {name: score for name, score in scores.items() if name != "5.weight"}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    masks = Sniper(model, optimizer, part, 0.6, cap=0.7).masks
    assert all(torch.equal(whole[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("stop", [0, 3, 4, 5, 6, 8, 9])
def test_groups_resume_with_the_same_bits_and_can_be_copied(tmp_path, stop):
    batches = even_batches(12)
    whole = built({0: 0.25, 6: 0.0}, groups=GROUPS)
    train(*whole[:2], batches[:stop])
    torch.save([part.state_dict() for part in whole], tmp_path / "checkpoint.pt")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = built({0: 0.25, 6: 0.0}, seed=9, scored=False, groups=GROUPS)
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    twin = copy.deepcopy(whole)
    assert resumed[2].learning_rates() == whole[2].learning_rates() == twin[2].learning_rates()
    for parts in (whole, resumed, twin):
        train(*parts[:2], batches[stop:])
    for other in (resumed, twin):
        for a, b in zip(whole[0].parameters(), other[0].parameters(), strict=True):
            assert torch.equal(a, b)
        assert other[2].record == whole[2].record


def test_a_group_inherits_what_it_does_not_set():
    sniper = built(0.5, groups={"3.*": {"strategy": SET()}, "5.*": {"schedule": 0.2}}, cap=0.8)[2]
    groups = sniper.settings["groups"]
    assert groups["3.*"]["cap"] == groups["5.*"]["cap"] == 0.8
    assert groups["3.*"]["regrowth"] == "zero" and groups["5.*"]["regrowth"] == "init"
    assert groups["3.*"]["schedule"] == [[0, 0.5]] and groups["5.*"]["schedule"] == [[0, 0.2]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": {"7.*": {"schedule": 0.2}}}, "no scored parameter is left for the groups 7"),
        ({"groups": {"3.*": {"schedule": 0.9, "cap": 0.8}}}, "smallest cap that works is 0.89"),
        ({"groups": {"3.*": {"lr_scaling": "none"}}}, "lr_scaling is the same for all groups"),
        ({"groups": {"3.*": {"pruned": "frozen"}}}, "pruned is the same for all groups"),
        ({"groups": {"3.*": {}}, "min_density": {"3.*": 0.1}}, "give it to each group"),
    ],
)
def test_groups_that_cannot_be_right_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        built(0.5, **settings)


def test_an_unknown_setting_of_a_group_is_an_error():
    with pytest.raises(TypeError, match="capp"):
        built(0.5, groups={"3.*": {"capp": 0.9}})


# ---- AC/DC


def test_alternating_phases():
    schedule = SparsitySchedule.alternating(0.9, phase=10, until=45, begin=5)
    expected = {0: 0.0, 5: 0.9, 15: 0.0, 25: 0.9, 35: 0.0, 45: 0.9}
    assert dict(schedule.milestones) == expected
    assert dict(SparsitySchedule.alternating(0.5, 10, 20).milestones) == {0: 0.0, 10: 0.5}
    with pytest.raises(ValueError, match="no time for phases of 10 updates until 15"):
        SparsitySchedule.alternating(0.9, phase=10, until=15)


def test_masks_of_a_sparse_phase_have_the_largest_magnitudes():
    schedule = SparsitySchedule.alternating(0.5, phase=3, until=9)
    model, optimizer, sniper = built(schedule, regrowth="zero")
    for update, batch in enumerate(even_batches(10), start=1):
        twin, steps = copy.deepcopy((model, optimizer))
        train(model, optimizer, [batch])
        assert_sparse(model, optimizer, sniper)
        if update in (3, 9):  # from dense to sparse: compare with the weights of a dense update
            train(twin, steps, [batch])
            magnitudes = {n: p.abs() for n, p in twin.named_parameters() if n in sniper.masks}
            kept = torch.cat([magnitudes[n][mask] for n, mask in sniper.masks.items()])
            gone = torch.cat([magnitudes[n][~mask] for n, mask in sniper.masks.items()])
            assert kept.min() >= gone.max()
        if update == 6:
            assert all(mask.all() for mask in sniper.masks.values())
    assert [(s.update, s.nominal) for s in sniper.record] == [(0, 0), (3, 0.5), (6, 0), (9, 0.5)]
