"""Comparison with the paper's code: its values are reproduced, its eight bugs are not."""

import copy
from dataclasses import dataclass

import pytest
import torch
from sniper_cases import (
    assert_sparse,
    cross_entropy,
    reference_case,
    small_batches,
    small_model,
    train,
)
from torch import nn
from torch.optim import lr_scheduler

from sniper import (
    Sniper,
    SparsitySchedule,
    fingerprint,
    global_masks,
    load_scores,
    magnitude_scores,
    prunable_parameters,
    save_scores,
    snip_scores,
)

MODEL, BATCHES, ARRAYS = reference_case()
MASK_CASES = sorted({key.split("/")[1] for key in ARRAYS if key.startswith("mask/")})


def part(prefix: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(prefix): torch.tensor(value)
        for key, value in ARRAYS.items()
        if key.startswith(prefix)
    }


class Scaled(nn.Linear):
    """A linear layer with a learnt factor, which is a scalar."""

    def __init__(self):
        super().__init__(3, 2)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.scale * super().forward(x)


def test_scalars_are_scored_and_masked_with_the_rest():
    model, batch = Scaled(), torch.ones(4, 3)
    scores = snip_scores(model, lambda m, x: m(x).sum(), [batch], compat="reference")
    expected = float(model(batch).sum().detach().abs())  # scale times the slope
    assert scores["scale"].shape == ()
    assert float(scores["scale"]) == pytest.approx(expected, rel=1e-5)
    assert global_masks(scores, 0.5, compat="reference")["scale"].shape == ()


def test_scores_agree_with_the_reference():
    scores = snip_scores(MODEL, cross_entropy, BATCHES, compat="reference")
    expected = part("score/")
    assert list(scores) == list(expected)
    for name, score in scores.items():
        torch.testing.assert_close(score, expected[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", MASK_CASES)
@pytest.mark.parametrize("own_scores", [True, False])
def test_reference_masks_are_bit_equal(case, own_scores):
    percent, cap = (int(number) / 100 for number in case.split("_cap"))
    scores = (
        snip_scores(MODEL, cross_entropy, BATCHES, compat="reference")
        if own_scores
        else part("score/")
    )
    masks = global_masks(scores, sparsity=percent, cap=cap, compat="reference")
    for name, expected in part(f"mask/{case}/").items():
        assert torch.equal(masks[name], expected), name


def attached(schedule, optimizer=None, **settings):
    model = small_model()
    optimizer = (optimizer or (lambda p: torch.optim.AdamW(p, lr=0.01)))(model.parameters())
    scores = snip_scores(model, cross_entropy, small_batches(2))
    return model, optimizer, Sniper(model, optimizer, scores, schedule, **settings)


def test_reference_bug_1_masks_live_in_the_forward_pass_only():
    model, optimizer, sniper = attached(SparsitySchedule.constant(0.6), cap=0.9)
    for batch in small_batches(4):
        assert_sparse(model, optimizer, sniper)
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        kept = [
            p.grad[sniper.masks[name]] if name in sniper.masks else p.grad
            for name, p in model.named_parameters()
        ]
        norm = torch.cat([g.flatten() for g in kept]).norm()
        torch.testing.assert_close(nn.utils.clip_grad_norm_(model.parameters(), 1e9), norm)
        optimizer.step()
        saved = model.state_dict()  # without a forward pass since the step
        assert all(not saved[name][~mask].any() for name, mask in sniper.masks.items())


@pytest.mark.parametrize("forward_before_the_switch", [True, False])
def test_reference_bug_2_regrowth_mistakes_zeros_for_masked_weights(forward_before_the_switch):
    model, optimizer, sniper = attached(SparsitySchedule.steps({0: 0.5, 3: 0.2}))
    initial = {name: p.detach().clone() for name, p in small_model().named_parameters()}
    train(model, optimizer, small_batches(2))
    old = sniper.masks
    weights = dict(model.named_parameters())
    zeroed = {name: mask.nonzero()[0] for name, mask in old.items()}
    optimizer.zero_grad()
    if forward_before_the_switch:
        model(small_batches(1)[0][0])
    with torch.no_grad():  # kept weights that happen to be zero are not masked
        for name, position in zeroed.items():
            weights[name][tuple(position)] = 0.0
            weights[name].grad = torch.zeros_like(weights[name])
            optimizer.state[weights[name]]["exp_avg"].zero_()
    before = {name: p.detach().clone() for name, p in weights.items()}
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    optimizer.step()
    for name, new in sniper.masks.items():
        regrown = new & ~old[name]
        assert regrown.any()
        expected = torch.where(regrown, initial[name], before[name])
        assert torch.equal(weights[name], expected), name


SCHEDULERS = {
    "noam": lambda o: lr_scheduler.LambdaLR(o, lambda u: min((u + 1) ** -0.5, (u + 1) * 0.2)),
    "step": lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, factor=0.5),
    "none": lambda o: None,
}


@pytest.mark.parametrize("kind", SCHEDULERS)
@pytest.mark.parametrize("scaling", ["per_tensor", "global", "none"])
def test_reference_bug_3_scaled_rates_disturb_the_scheduler(kind, scaling):
    sgd = lambda p: torch.optim.SGD(p, lr=0.1)  # noqa: E731
    schedule = SparsitySchedule.steps({0: 0.8, 4: 0.3, 8: 0.0})
    model, optimizer, sniper = attached(
        schedule, sgd, cap=0.9, lr_scaling=scaling, max_lr_scale=3.0
    )
    scheduler = SCHEDULERS[kind](optimizer)
    plain = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    plain_scheduler = SCHEDULERS[kind](plain)
    for update, batch in enumerate(small_batches(11)):
        densities = {name: float(mask.float().mean()) for name, mask in sniper.masks.items()}
        kept = sum(int(mask.sum()) for mask in sniper.masks.values())
        overall = kept / sum(mask.numel() for mask in sniper.masks.values())
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        rates = sniper.learning_rates()
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        for name, p in model.named_parameters():
            scale = {
                "per_tensor": min(3.0, 1 / densities.get(name, 1.0)),
                "global": min(3.0, 1 / overall),
                "none": 1.0,
            }[scaling]
            rate = plain.param_groups[0]["lr"] * scale
            assert rates[name] == pytest.approx(rate, rel=1e-6)
            mask = sniper.masks.get(name, torch.ones_like(p, dtype=torch.bool))
            if update + 1 in (4, 8):  # weights that have just returned were not updated
                mask = mask & (before[name] != 0)
            moved = (p.detach() - before[name])[mask]
            torch.testing.assert_close(
                moved, -rate * gradients[name][mask], rtol=1e-4, atol=2e-7, msg=name
            )
        plain.step()
        for each in (scheduler, plain_scheduler):
            if each is not None:
                each.step(*([1.0] if kind == "plateau" else []))
        assert optimizer.param_groups[0]["lr"] == plain.param_groups[0]["lr"]
        if scheduler is not None:
            own, theirs = scheduler.state_dict(), plain_scheduler.state_dict()
            assert {k: v for k, v in own.items() if k != "lr_lambdas"} == {
                k: v for k, v in theirs.items() if k != "lr_lambdas"
            }


def test_reference_bug_4_resume_forgets_masks_and_position():
    schedule = SparsitySchedule.steps({0: 0.5, 3: 0.25, 5: 0.0})
    model, optimizer, sniper = attached(schedule)
    train(model, optimizer, small_batches(3))
    saved = copy.deepcopy([x.state_dict() for x in (model, optimizer, sniper)])
    train(model, optimizer, small_batches(3))

    resumed = small_model(seed=7)
    resumed_optimizer = torch.optim.AdamW(resumed.parameters(), lr=0.01)
    resumed_sniper = Sniper(resumed, resumed_optimizer, None, schedule)
    for each, state in zip((resumed, resumed_optimizer, resumed_sniper), saved, strict=True):
        each.load_state_dict(state)
    assert resumed_sniper.update == 3
    train(resumed, resumed_optimizer, small_batches(3))
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_reference_bug_5_no_pruning_crashes_and_ties_over_prune():
    scores = {"bias": torch.zeros(50), "weight": torch.rand(150) + 1}
    assert all(mask.all() for mask in global_masks(scores, sparsity=0.0).values())
    masks = global_masks(scores, sparsity=0.1)
    assert int((~masks["bias"]).sum()) == 20 and masks["weight"].all()
    assert not masks["bias"][:20].any()  # among equal scores, the first are pruned


def test_reference_bug_6_scoring_rebuilds_the_model(monkeypatch):
    model, built = small_model(), []
    monkeypatch.setattr(nn.Module, "__init__", lambda self: built.append(self))
    snip_scores(model, cross_entropy, small_batches(3))
    assert not built


def test_reference_bug_6_saved_scores_are_reused_for_other_settings(tmp_path):
    model, batches, path = small_model(), small_batches(2), tmp_path / "scores.pt"
    scores = snip_scores(model, cross_entropy, batches)
    save_scores(path, scores, fingerprint(model, batches, {"method": "snip", "batches": 2}))
    same = fingerprint(small_model(), small_batches(2), {"method": "snip", "batches": 2})
    again = load_scores(path, same)
    assert all(torch.equal(again[name], score) for name, score in scores.items())
    assert list(tmp_path.iterdir()) == [path]

    def refused(changed, model=model, batches=batches, method="snip"):
        now = fingerprint(model, batches, {"method": method, "batches": 2})
        with pytest.raises(ValueError) as error:
            load_scores(path, now)
        parts = ["model structure", "initial weights", "data order", "'method'"]
        assert [p for p in parts if p in str(error.value)] == changed

    refused(["initial weights"], model=small_model(seed=3))
    refused(["data order"], batches=batches[::-1])
    refused(["'method'"], method="magnitude")
    refused(["model structure", "initial weights"], model=nn.Linear(3, 2))


@dataclass
class DataBatch:
    ids: list[str]
    mel: torch.Tensor


def test_fingerprints_depend_on_all_of_a_dataclass_and_refuse_unknown_types():
    def order(item):
        return fingerprint(small_model(), [item], {})["data order"]

    mel = torch.zeros(2000)
    moved = mel.clone()
    moved[1000] = 1  # in the middle, which a tensor's repr does not show
    kinds = [
        DataBatch(["a"], mel),
        DataBatch(["a"], moved),
        DataBatch(["b"], mel),
        None,
        1,
        1.5,
        "1",
    ]
    assert len({order(each) for each in kinds}) == len(kinds)
    assert order(DataBatch(["a"], mel)) == order(DataBatch(["a"], mel.clone()))
    with pytest.raises(TypeError, match="cannot take a fingerprint of <class 'object'>"):
        order(object())


def test_reference_bug_7_a_misspelt_name_prunes_the_whole_model():
    model = small_model()
    for option in ("include", "exclude"):
        with pytest.raises(ValueError, match="encodr"):
            prunable_parameters(model, **{option: ["encodr.*"]})
    # index 4 is a LayerNorm whose name does not say so
    assert list(prunable_parameters(model)) == ["0.weight", "3.weight", "5.weight"]
    assert "4.weight" in magnitude_scores(model, compat="reference")
