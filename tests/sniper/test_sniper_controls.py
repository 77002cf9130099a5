"""Controls for studies: shuffled scores, other fates of pruned weights, another order of return."""

import copy

import pytest
import torch
from sniper_cases import (
    OPTIMIZERS,
    attached,
    count,
    cross_entropy,
    small_batches,
    small_model,
    train,
)

from sniper import Sniper, SparsitySchedule, magnitude_scores, snip_scores

FALLING = SparsitySchedule.steps({0: 0.6, 4: 0.3, 8: 0.1, 12: 0.0})
MIXED = SparsitySchedule.steps({0: 0.3, 4: 0.6, 8: 0.2, 12: 0.5})


def scored(model):
    return snip_scores(model, cross_entropy, small_batches(2, seed=5))


def built(optimizer="adamw decay", schedule=FALLING, seed=0, scores=None, **settings):
    model = small_model(seed)
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    scores = scored(model) if scores is None else scores
    return model, optimizer, Sniper(model, optimizer, scores or None, schedule, **settings)


def test_shuffled_scores_keep_the_share_of_each_tensor_and_nothing_else():
    true, shuffled, again, other = (
        built(schedule=0.4, shuffle_seed=seed)[2] for seed in (None, 1, 1, 2)
    )
    assert true.record[0].tensors == shuffled.record[0].tensors == other.record[0].tensors
    assert len(set(true.record[0].tensors.values())) > 1
    for name, mask in true.masks.items():
        assert torch.equal(shuffled.masks[name], again.masks[name])
        assert not torch.equal(shuffled.masks[name], mask)
        assert not torch.equal(shuffled.masks[name], other.masks[name])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("schedule", [SparsitySchedule.constant(0.4), MIXED])
def test_frozen_weights_are_bit_equal_to_their_initial_values(optimizer, schedule):
    initial = copy.deepcopy(small_model())
    model, optimizer, sniper = built(optimizer, schedule, pruned="frozen")
    for name, p in initial.named_parameters():  # attaching changes nothing
        assert torch.equal(p, model.get_parameter(name))
    for batch in small_batches(50):
        before = sniper.masks
        train(model, optimizer, [batch], clip=0.5)
        for name, mask in sniper.masks.items():
            weight, start = model.get_parameter(name), initial.get_parameter(name)
            still = ~mask & ~before[name]
            assert torch.equal(weight[~mask], start[~mask])
            assert not weight.grad[still].any()
            for state in optimizer.state[weight].values():
                if torch.is_tensor(state) and state.shape == mask.shape:
                    assert not state[~mask].any()
    total = sum(mask.numel() for mask in sniper.masks.values())
    pruned = sum(int((~mask).sum()) for mask in sniper.masks.values())
    assert pruned == count(sniper.sparsity, total) > 0
    trained = model[3].weight != initial[3].weight
    assert trained[sniper.masks["3.weight"]].all()


def test_frozen_and_zero_have_the_same_masks_and_other_weights():
    frozen, zero = built(schedule=0.4, pruned="frozen"), built(schedule=0.4)
    assert frozen[2].record == zero[2].record
    for model, optimizer, _ in (frozen, zero):
        train(model, optimizer, small_batches(5))
    assert all(torch.equal(frozen[2].masks[n], mask) for n, mask in zero[2].masks.items())
    assert not torch.equal(frozen[0][3].weight, zero[0][3].weight)


def test_frozen_weights_equal_training_with_the_initial_values_in_the_forward_pass():
    """Compare with a dense model whose forward pass uses where(mask, weight, initial)."""
    model, optimizer, sniper = built("momentum", 0.4, pruned="frozen", lr_scaling="none")
    plain, masks = small_model(), sniper.masks
    initial = copy.deepcopy(plain)
    dense = OPTIMIZERS["momentum"](plain.parameters())
    for batch in small_batches(6):
        train(model, optimizer, [batch])
        dense.zero_grad()
        mixed = {
            n: torch.where(masks[n], p, initial.get_parameter(n).detach()) if n in masks else p
            for n, p in plain.named_parameters()
        }
        output = torch.func.functional_call(plain, mixed, (batch[0],))
        torch.nn.functional.cross_entropy(output, batch[1]).backward()
        dense.step()
    for name, p in model.named_parameters():
        kept = masks.get(name, torch.ones_like(p, dtype=torch.bool))
        torch.testing.assert_close(p[kept], plain.get_parameter(name)[kept])


def test_the_copies_of_frozen_weights_in_optimizers_stay_too():
    schedulefree = pytest.importorskip("schedulefree")
    model = small_model()
    optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.01, weight_decay=0.1)
    optimizer.train()
    initial = copy.deepcopy(model)
    sniper = Sniper(model, optimizer, scored(model), 0.4, pruned="frozen")
    train(model, optimizer, small_batches(5))
    optimizer.eval()
    for name, mask in sniper.masks.items():
        weight = model.get_parameter(name)
        expected = initial.get_parameter(name)[~mask]
        assert torch.equal(optimizer.state[weight]["z"][~mask], expected)
        torch.testing.assert_close(weight[~mask], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("settings", [{"pruned": "frozen"}, {"pruned": "trained"},
                                      {"return_order": "highest_last"}])  # fmt: skip
@pytest.mark.parametrize("stop", [0, 3, 4, 5, 8, 11, 12, 13])
def test_controls_resume_with_the_same_bits(tmp_path, settings, stop):
    batches = small_batches(15)
    whole = built(**settings)
    train(*whole[:2], batches[:stop])
    torch.save([part.state_dict() for part in whole], tmp_path / "checkpoint.pt")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = built(seed=9, scores={}, **settings)
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    assert resumed[2].learning_rates() == whole[2].learning_rates()
    for model, optimizer, _ in (whole, resumed):
        train(model, optimizer, batches[stop:])
    for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole[2].record == resumed[2].record


def test_apply_masks_freezes_a_copy_of_the_model():
    model, optimizer, sniper = built(schedule=0.4, pruned="frozen")
    initial = small_model()
    train(model, optimizer, small_batches(2))
    other = small_model(7)
    sniper.apply_masks(other)
    for name, mask in sniper.masks.items():
        weight = other.get_parameter(name)
        assert torch.equal(weight[~mask], initial.get_parameter(name)[~mask])
        assert torch.equal(weight[mask], small_model(7).get_parameter(name)[mask])


@pytest.mark.parametrize("schedule", [FALLING, MIXED])
def test_rates_without_masks_are_those_of_the_masked_training(schedule):
    """`trained` is dense training with a rate for each tensor, set up by hand."""
    masked = built("sgd", schedule, pruned="zero")
    model, optimizer, sniper = built("sgd", schedule, pruned="trained")
    plain = small_model()
    for batch in small_batches(14):
        rates = sniper.learning_rates()
        by_hand = torch.optim.SGD([{"params": [p], "lr": rates[n]} for n, p in
                                   plain.named_parameters()])  # fmt: skip
        if schedule is FALLING:  # at a rise, masks depend on the weights' magnitudes
            assert rates == masked[2].learning_rates()
        train(model, optimizer, [batch])
        train(plain, by_hand, [batch])
        train(*masked[:2], [batch])
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert all(mask.all() for mask in sniper.masks.values())
    assert {switch.achieved for switch in sniper.record} == {0.0}
    assert not any(any(switch.tensors.values()) for switch in sniper.record)
    assert [s.nominal for s in sniper.record] == [s.nominal for s in masked[2].record]


@pytest.mark.parametrize("more", [{}, {"cap": 0.65}, {"allocation": "uniform"},
                                  {"allocation": "erk"}, {"pattern": "2x1"},
                                  {"cap": 0.5, "redistribute": False}])  # fmt: skip
def test_highest_scores_return_last(more):
    usual = built("sgd", FALLING, **more)
    model, optimizer, sniper = built("sgd", FALLING, return_order="highest_last", **more)
    scores = scored(small_model())
    assert all(torch.equal(mask, usual[2].masks[n]) for n, mask in sniper.masks.items())
    before = sniper.masks
    for batch in small_batches(13):
        for each in ((model, optimizer), usual[:2]):
            train(*each, [batch])
        masks, total = sniper.masks, sum(mask.numel() for mask in before.values())
        assert not any((before[n] & ~mask).any() for n, mask in masks.items())
        if not more:
            assert sniper.record == usual[2].record or sniper.record[-1].achieved == (
                pytest.approx(usual[2].record[-1].achieved)
            )
            returned = [scores[n][mask & ~before[n]] for n, mask in masks.items()]
            still = [scores[n][~mask] for n, mask in masks.items()]
            if sum(map(len, returned)) and sum(map(len, still)):
                assert torch.cat(returned).max() <= torch.cat(still).min()
        before = masks
        assert total
    assert all(mask.all() for mask in before.values())
    assert (
        any(a.tensors != b.tensors for a, b in zip(sniper.record, usual[2].record, strict=True))
        or more
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pruned": "one"}, "pruned is one of zero, frozen, trained"),
        ({"return_order": "last"}, "return_order is one of highest_first, highest_last"),
        ({"pruned": "frozen", "regrowth": "zero"}, "use regrowth='init'"),
        ({"pruned": "trained", "lr_scaling": "none"}, "needs scaled rates"),
        ({"return_order": "highest_last"}, "needs a schedule that falls and never rises"),
        ({"return_order": "highest_last", "schedule": MIXED}, "falls and never rises"),
        ({"return_order": "highest_last", "schedule": FALLING, "compat": "reference"}, "compat"),
    ],
)  # fmt: skip
def test_controls_that_cannot_be_right_are_refused_before_anything_is_masked(settings, message):
    model = small_model()
    with pytest.raises(ValueError, match=message):
        attached(**settings)
    for a, b in zip(model.parameters(), small_model().parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_copy_of_model_optimizer_and_sniper_keeps_its_control():
    parts = built(schedule=FALLING, pruned="frozen")
    twin = copy.deepcopy(parts)
    for model, optimizer, _ in (parts, twin):
        train(model, optimizer, small_batches(6))
    for a, b in zip(parts[0].parameters(), twin[0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_magnitude_scores_shuffle_the_same_on_every_device_order():
    scores = magnitude_scores(small_model())
    a, b = (built(schedule=0.5, scores=scores, shuffle_seed=3)[2].masks for _ in range(2))
    assert all(torch.equal(a[n], b[n]) for n in a)
