import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sniper_cases import count, small_model

from sniper import (
    SparsitySchedule,
    global_masks,
    layerwise_masks,
    magnitude_scores,
    prunable_parameters,
    sparsity_of,
)


@st.composite
def score_sets(draw):
    """Draw a few tensors of scores, often with many ties."""
    scores = {}
    for index in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
        levels = draw(st.sampled_from([1, 3, 10**6]))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
        signed = draw(st.booleans())
        values = torch.randint(levels, shape, generator=generator).float() / levels
        scores[f"tensor{index}"] = values - 0.5 if signed else values
    return scores


fractions = st.floats(0, 1, allow_nan=False)


def reachable(scores, sparsity, cap):
    sizes = [score.numel() for score in scores.values()]
    return count(sparsity, sum(sizes)) <= sum(count(cap, size) for size in sizes)


def lowest_by_hand(scores, sparsity, cap):
    """Prune weight by weight from the lowest score on, except in tensors that are at the cap."""
    order = sorted(
        (score.flatten()[i].item(), rank, i)
        for rank, score in enumerate(scores.values())
        for i in range(score.numel())
    )
    rooms = [count(cap, score.numel()) for score in scores.values()]
    left, pruned = count(sparsity, len(order)), set()
    for _, rank, i in order:
        if left and rooms[rank]:
            rooms[rank] -= 1
            left -= 1
            pruned.add((rank, i))
    return pruned


@settings(deadline=None, max_examples=150)
@given(score_sets(), fractions, fractions)
def test_exactly_the_lowest_are_pruned_within_the_cap(scores, sparsity, cap):
    if not reachable(scores, sparsity, cap):
        with pytest.raises(ValueError, match="smallest cap that works is"):
            global_masks(scores, sparsity, cap)
        return
    masks = global_masks(scores, sparsity, cap)
    found = {
        (rank, int(i))
        for rank, mask in enumerate(masks.values())
        for i in (~mask.flatten()).nonzero()
    }
    assert found == lowest_by_hand(scores, sparsity, cap)
    assert all(masks[name].shape == score.shape for name, score in scores.items())


@settings(deadline=None, max_examples=100)
@given(
    score_sets(),
    fractions,
    fractions,
    fractions,
    st.sampled_from(["global", "shortfall", "uniform", "erk"]),
)
def test_masks_of_one_score_set_are_nested(scores, sparsity, other, cap, kind):
    def masks(sparsity):
        if kind in ("uniform", "erk"):
            return layerwise_masks(scores, sparsity, kind, cap)
        return global_masks(scores, sparsity, cap, redistribute=kind == "global")

    low, high = sorted([sparsity, other])
    try:
        lower, higher = masks(low), masks(high)
    except ValueError as error:
        assert "smallest cap" in str(error)
        return
    for name in scores:
        assert not (higher[name] & ~lower[name]).any()


@settings(deadline=None, max_examples=100)
@given(score_sets(), fractions, fractions)
def test_without_redistribution_the_cap_falls_short(scores, sparsity, cap):
    free = global_masks(scores, sparsity)
    capped = global_masks(scores, sparsity, cap, redistribute=False)
    for name, score in scores.items():
        pruned = int((~free[name]).sum())
        assert int((~capped[name]).sum()) == min(pruned, count(cap, score.numel()))
        assert not (~capped[name] & free[name]).any()


@settings(deadline=None, max_examples=100)
@given(score_sets(), fractions, st.sampled_from([0.5, 0.9, 1.0]))
def test_layerwise_allocations(scores, sparsity, cap):
    if sparsity > cap:
        with pytest.raises(ValueError, match="smallest cap that works is"):
            layerwise_masks(scores, sparsity, "erk", cap)
        return
    for name, mask in layerwise_masks(scores, sparsity, "uniform", cap).items():
        assert int((~mask).sum()) == count(sparsity, mask.numel()), name
    masks = layerwise_masks(scores, sparsity, "erk", cap)
    total = sum(score.numel() for score in scores.values())
    pruned = sum(int((~mask).sum()) for mask in masks.values())
    assert sparsity * total - len(scores) - 1e-3 <= pruned <= sparsity * total + 1e-3
    raw, densities = {}, {}
    for name, mask in masks.items():
        assert int((~mask).sum()) <= cap * mask.numel()
        raw[name] = sum(mask.shape) / math.prod(mask.shape)
        densities[name] = float(mask.float().mean())
    for a in masks:  # where no limit applies, densities are proportional to the raw densities
        for b in masks:
            free = all(1 - cap + 1e-6 < densities[n] < 1 for n in (a, b))
            rounding = 1 / masks[a].numel() / raw[a] + 1 / masks[b].numel() / raw[b]
            if free and rounding < 0.2 and cap == 1.0:
                assert abs(densities[a] / raw[a] - densities[b] / raw[b]) <= rounding + 1e-6


def test_the_smallest_cap_is_named_and_works():
    scores = {"a": torch.rand(1000), "b": torch.rand(300)}
    with pytest.raises(ValueError, match="smallest cap that works is 0.8$"):
        global_masks(scores, sparsity=0.8, cap=0.75)
    assert sparsity_of(global_masks(scores, sparsity=0.8, cap=0.8)) == 0.8
    with pytest.raises(ValueError):
        global_masks(scores, sparsity=0.8, cap=0.799)


def test_counts_are_exact_where_float32_could_not_count():
    scores = {"a": torch.zeros(2**24 + 12), "b": torch.zeros(7)}
    masks = global_masks(scores, sparsity=(2**24 + 5) / (2**24 + 19))
    assert int((~masks["a"]).sum()) == 2**24 + 5 and masks["b"].all()


def test_bad_input_is_named():
    scores = {"good": torch.rand(4), "bad": torch.tensor([1.0, float("nan")])}
    for make in (global_masks, layerwise_masks):
        with pytest.raises(ValueError, match="NaN or infinite in bad"):
            make(scores, 0.5)
        with pytest.raises(ValueError, match="sparsity is a fraction between 0 and 1, not 40"):
            make(scores, 40)
        with pytest.raises(ValueError, match="cap is a fraction"):
            make(scores, 0.4, cap=75)
    with pytest.raises(ValueError, match="reference"):
        global_masks({"a": torch.rand(3)}, 0.5, compat="paper")
    with pytest.raises(ValueError, match="erk"):
        layerwise_masks({"a": torch.rand(3)}, 0.5, "global")


# ---- what is prunable


def test_prunable_are_linear_and_convolution_weights():
    nn = torch.nn
    model = nn.ModuleDict(
        {
            "embed": nn.Embedding(9, 4),
            "conv": nn.Sequential(
                nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4), nn.ConvTranspose2d(1, 2, 3)
            ),
            "attention": nn.TransformerEncoderLayer(4, 2, 8),
            "out": nn.Linear(4, 9),
            "frozen": nn.Linear(4, 4).requires_grad_(False),
        }
    )
    model.table = nn.Parameter(torch.zeros(10, 4))
    usual = [
        "conv.0.weight",
        "conv.2.weight",
        "attention.self_attn.in_proj_weight",
        "attention.self_attn.out_proj.weight",
        "attention.linear1.weight",
        "attention.linear2.weight",
        "out.weight",
    ]
    assert list(prunable_parameters(model)) == usual
    assert list(prunable_parameters(model, include=["conv.*", "o*"])) == usual[:2] + usual[-1:]
    assert list(prunable_parameters(model, exclude=["attention.*"])) == usual[:2] + usual[-1:]
    assert set(prunable_parameters(model, include=["*.in_proj_bias", "table"])) == {
        *usual,
        "attention.self_attn.in_proj_bias",
        "table",
    }
    assert list(prunable_parameters(model, include="out.*")) == ["out.weight"]
    assert list(prunable_parameters(model, types=(nn.Embedding,))) == ["embed.weight"]
    reference = prunable_parameters(model, compat="reference")
    assert {"out.bias", "conv.1.weight", "table"} <= set(reference)
    assert not any("norm" in name or "embed" in name for name in reference)
    model["out"].weight = model["embed"].weight  # tied to an embedding, so not prunable
    assert "out.weight" not in prunable_parameters(model) and "embed.weight" not in (
        prunable_parameters(model)
    )
    with pytest.raises(ValueError, match="no parameter is left"):
        prunable_parameters(model, exclude=["*"])


def test_weight_norm_is_refused_by_name():
    model = small_model()
    torch.nn.utils.parametrizations.weight_norm(model[3])
    with pytest.raises(ValueError, match=r"3\.weight cannot be masked, being computed"):
        magnitude_scores(model)
    for exclude in (["3.*"], ["3.weight"], "3.weight"):
        assert list(magnitude_scores(model, exclude=exclude)) == ["0.weight", "5.weight"]
    torch.nn.utils.parametrizations.spectral_norm(model[5])
    with pytest.raises(ValueError, match=r"3\.weight and 5\.weight cannot be masked"):
        magnitude_scores(model)
    with pytest.raises(ValueError, match=r"3\.weight and 5\.weight cannot be masked"):
        magnitude_scores(model, compat="reference")  # a filter masked whole would be 0 / 0
    older = torch.nn.Sequential(torch.nn.utils.weight_norm(torch.nn.Linear(3, 4)))
    with pytest.raises(ValueError, match=r"0\.weight cannot be masked"):
        magnitude_scores(older)


# ---- schedules


def test_schedules():
    steps = SparsitySchedule.steps({0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0.0})
    updates = (0, 499, 500, 999, 1000, 1999, 2000, 10**6)
    assert [steps(u) for u in updates] == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1, 0.0, 0.0]
    assert SparsitySchedule.constant(0.4)(10**6) == 0.4
    linear = SparsitySchedule.linear(0.4, 0.0, 20, begin=5)
    assert [linear(u) for u in (0, 5, 10, 15, 25, 99)] == pytest.approx([0.4, 0.4, 0.3, 0.2, 0, 0])
    cosine = SparsitySchedule.cosine(0.4, 0.0, 20)
    assert [cosine(u) for u in (0, 5, 10, 20)] == pytest.approx(
        [0.4, 0.4 * (1 + math.cos(math.pi / 4)) / 2, 0.2, 0]
    )
    cubic = SparsitySchedule.cubic(0.0, 0.8, 100)
    expected = [0.8 - 0.8 * (1 - u / 100) ** 3 for u in (0, 10, 50, 100)]  # Zhu and Gupta, eq. 1
    assert [cubic(u) for u in (0, 10, 50, 100)] == pytest.approx(expected)
    assert len(SparsitySchedule.linear(0.4, 0.0, 4000).milestones) == 101
    assert SparsitySchedule.linear(0.4, 0.0, 4000, every=1)(1) == pytest.approx(0.3999)
    assert SparsitySchedule.steps({0: 0, 5: 0.0}).is_dense and not cubic.is_dense
    assert not SparsitySchedule.steps({0: 0.4, 1: 0.0}).is_dense
    assert steps == SparsitySchedule({0: 0.4, 1000: 0.1, 500: 0.2, 700: 0.2, 2000: 0})


@pytest.mark.parametrize(
    ("milestones", "message"),
    [
        ({0: 40}, "fraction"),
        ({0: 0.4, -1: 0.2}, "number of updates"),
        ({0: 0.4, 1.5: 0.2}, "number of updates"),
        ({5: 0.4}, "at update 0"),
    ],
)
def test_bad_schedules(milestones, message):
    with pytest.raises(ValueError, match=message):
        SparsitySchedule.steps(milestones)
