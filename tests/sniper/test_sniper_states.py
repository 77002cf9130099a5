"""What optimizers keep for each weight and in their groups: moments, copies, codes, counters."""

import copy
import warnings

import pytest
import torch
from sniper_cases import ToyOptimizer, cross_entropy, small_batches, small_model, train

from sniper import (
    Sniper,
    SparsitySchedule,
    magnitude_scores,
    prunable_parameters,
    register_optimizer,
)

BATCHES = small_batches(14)


def built(make, schedule, seed=0, scores=True, **settings):
    model = small_model(seed)
    optimizer = make(model.parameters())
    scores = magnitude_scores(model) if scores else None
    return model, optimizer, Sniper(model, optimizer, scores, schedule, **settings)


def resumed_equals_whole(make, schedule, stop, **settings):
    whole = built(make, schedule, **settings)
    train(*whole[:2], BATCHES[:stop])
    saved = copy.deepcopy([part.state_dict() for part in whole])
    resumed = built(make, schedule, seed=9, scores=False, **settings)
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    for parts in (whole, resumed):
        train(*parts[:2], BATCHES[stop:])
    pairs = zip(whole[0].parameters(), resumed[0].parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_rprop_keeps_its_step_sizes():
    schedule = SparsitySchedule.steps({0: 0.6, 5: 0.2})
    make = lambda p: torch.optim.Rprop(p, lr=0.01)  # noqa: E731
    assert resumed_equals_whole(make, schedule, 3)
    model, optimizer, sniper = built(make, SparsitySchedule.steps({0: 0.3, 4: 0.6}))
    before = sniper.masks
    train(model, optimizer, BATCHES[:4])
    for name, mask in sniper.masks.items():
        state = optimizer.state[model.get_parameter(name)]
        never_updated = state["step_size"][~before[name]]
        assert (state["step_size"][~mask] == never_updated[0]).all()
        assert not state["prev"][~mask].any()


class Codes(ToyOptimizer):
    """Momentum in 8 bits, where the code 128 stands for 0 and the code 0 for -1."""

    def update(self, p, state, lr):
        code = state.setdefault("code", torch.full(p.shape, 128, dtype=torch.uint8))
        moment = 0.9 * (code.float() - 128) / 127 + 0.1 * p.grad
        p.sub_(lr * moment)
        state["code"] = (moment * 127 + 128).round().clamp(1, 255).to(torch.uint8)


def test_codes_of_quantised_moments_are_those_of_weights_without_gradient():
    schedule = SparsitySchedule.steps({0: 0.2, 4: 0.6})
    model, optimizer, sniper = built(lambda p: Codes(p, 0.1), schedule)
    train(model, optimizer, BATCHES[:4])
    for name, mask in sniper.masks.items():
        assert (optimizer.state[model.get_parameter(name)]["code"][~mask] == 128).all()


def test_states_of_unknown_meaning_are_told_unless_registered():
    schedule = SparsitySchedule.steps({0: 0.0, 4: 0.6})

    class Mine(Codes):
        pass

    with pytest.warns(UserWarning, match="Mine.code is left as it is .*register_optimizer"):
        model, optimizer, _ = built(lambda p: Mine(p, 0.1), schedule)
        train(model, optimizer, BATCHES[:4])
    register_optimizer(Mine, other=["code"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, optimizer, _ = built(lambda p: Mine(p, 0.1), schedule)
        train(model, optimizer, BATCHES[:4])


def test_moments_of_a_state_loaded_after_attachment_are_cleared():
    dense = small_model()
    earlier = torch.optim.AdamW(dense.parameters(), lr=0.01)
    train(dense, earlier, BATCHES[:3])
    make = lambda p: torch.optim.AdamW(p, lr=0.01)  # noqa: E731
    model, optimizer, sniper = built(make, SparsitySchedule.constant(0.5))
    optimizer.load_state_dict(earlier.state_dict())
    train(model, optimizer, BATCHES[:1])
    for name, mask in sniper.masks.items():
        state = optimizer.state[model.get_parameter(name)]
        assert not state["exp_avg"][~mask].any() and not state["exp_avg_sq"][~mask].any()
        assert state["exp_avg_sq"][mask].all()


class Averaging(torch.optim.Optimizer):
    """Steps on `z` and draws the weights to it; weighs rates in its groups, like schedule-free."""

    def __init__(self, params, lr, as_tensor=False):
        super().__init__(params, {"lr": lr, "weight_sum": torch.zeros(()) if as_tensor else 0.0})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["weight_sum"] += group["lr"]  # in place, if it is a tensor
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                z.sub_(p.grad, alpha=group["lr"])
                p.lerp_(z, group["lr"] / group["weight_sum"])


register_optimizer(Averaging, copies=["z"])


@pytest.mark.parametrize("as_tensor", [False, True])
def test_values_in_groups_that_depend_on_the_rate_are_kept_for_each_rate(as_tensor):
    schedule = SparsitySchedule.constant(0.5)
    model, optimizer, sniper = built(lambda p: Averaging(p, 0.05, as_tensor), schedule)
    masks, plain = sniper.masks, small_model()
    for name, mask in masks.items():
        plain.get_parameter(name).data.mul_(mask)
    by_hand = Averaging(
        [
            {"params": [p], "lr": 0.05 * (min(4.0, 1 / float(masks[n].double().mean())))}
            if n in masks
            else {"params": [p]}
            for n, p in plain.named_parameters()
        ],
        0.05,
    )
    for group in by_hand.param_groups:
        group["weight_sum"] = 0.0
    for batch in BATCHES:
        train(model, optimizer, [batch])
        by_hand.zero_grad()
        cross_entropy(plain, batch).backward()
        for name, mask in masks.items():
            plain.get_parameter(name).grad.mul_(mask)
        by_hand.step()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("stop", [3, 5, 8])
def test_such_values_resume(stop, as_tensor):
    schedule = SparsitySchedule.steps({0: 0.6, 5: 0.2})
    assert resumed_equals_whole(lambda p: Averaging(p, 0.05, as_tensor), schedule, stop)


@pytest.mark.parametrize("name", ["weight_sum", "a key that the group had not"])
def test_values_that_someone_sets_in_a_group_reach_all_rates(name):
    model, optimizer, _ = built(lambda p: Averaging(p, 0.05), SparsitySchedule.constant(0.5))
    train(model, optimizer, BATCHES[:2])
    optimizer.param_groups[0][name] = 7.0
    sums = []
    optimizer.register_step_post_hook(lambda o, *_: None)
    optimizer.register_step_pre_hook(
        lambda o, *_: sums.extend(group.get(name) for group in o.param_groups)
    )
    train(model, optimizer, BATCHES[:1])
    assert len(sums) > 1 and set(sums) == {7.0}


@pytest.mark.parametrize(
    "make", [lambda p: Averaging(p, 1e-9), lambda p: torch.optim.ASGD(p, lr=1e-9, t0=0)]
)
def test_copies_of_weights_return_with_them(make):
    initial = small_model()
    schedule = SparsitySchedule.steps({0: 0.6, 5: 0.0})
    model, optimizer, sniper = built(make, schedule, lr_scaling="none")
    pruned = {name: ~mask for name, mask in sniper.masks.items()}
    train(model, optimizer, BATCHES[:5])
    for name, where in pruned.items():
        expected = initial.get_parameter(name)[where]
        state = optimizer.state[model.get_parameter(name)]
        assert torch.equal(state["z" if "z" in state else "ax"][where], expected)
    train(model, optimizer, BATCHES[5:])
    for name, where in pruned.items():
        expected = initial.get_parameter(name)[where]
        torch.testing.assert_close(model.get_parameter(name)[where], expected)


class Lookahead(torch.optim.Optimizer):
    """Draws the weights of another optimizer to slow ones, which are kept as a function has it."""

    def __init__(self, optimizer, every=3):
        self.optimizer, self.every, self.steps = optimizer, every, 0
        self.param_groups, self.defaults = optimizer.param_groups, optimizer.defaults
        self.state = {p: {"slow_params": p.detach().clone()} for p in self.parameters()}

    def parameters(self):
        return [p for group in self.param_groups for p in group["params"]]

    def slow(self):
        return [self.state[p]["slow_params"] for p in self.parameters()]

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure=None):
        self.optimizer.step(closure)
        self.steps += 1
        if self.steps % self.every == 0:
            for p, slow in zip(self.parameters(), self.slow(), strict=True):
                slow.lerp_(p, 0.5)
                p.data.copy_(slow)  # which the version of the parameter does not show


class HiddenLookahead(Lookahead):
    """Keeps the slow weights in a list of its own."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.slow_weights = [super().slow()]
        self.state = {}

    def slow(self):
        return self.slow_weights[0]


def test_slow_weights_in_a_wrapper_are_pruned_and_return():
    schedule = SparsitySchedule.steps({0: 0.2, 4: 0.6, 8: 0.0})
    model, optimizer, sniper = built(lambda p: Lookahead(torch.optim.SGD(p, lr=1e-9)), schedule)
    initial = small_model()
    for batch in BATCHES[:8]:
        train(model, optimizer, [batch])
        for name, mask in sniper.masks.items():
            assert not model.get_parameter(name).detach()[~mask].any()
            assert not optimizer.state[model.get_parameter(name)]["slow_params"][~mask].any()
    train(model, optimizer, BATCHES[8:])
    for name in sniper.masks:
        torch.testing.assert_close(model.get_parameter(name), initial.get_parameter(name))


def test_copies_of_weights_that_cannot_be_followed_are_told_at_attachment():
    make = lambda p: HiddenLookahead(torch.optim.SGD(p, lr=0.1))  # noqa: E731
    with pytest.warns(UserWarning, match=r"HiddenLookahead\.slow_weights holds .* apply_masks"):
        built(make, SparsitySchedule.constant(0.5))

    def averaging(parameters):
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        optimizer.average = torch.optim.swa_utils.AveragedModel(small_model())
        return optimizer

    with pytest.warns(UserWarning, match=r"SGD\.average holds tensors"):
        built(averaging, SparsitySchedule.constant(0.5))


def test_slow_weights_of_a_loop_are_masked_before_anyone_reads_masks_or_a_checkpoint():
    schedule = SparsitySchedule.steps({0: 0.2, 4: 0.6})
    model, optimizer, sniper = built(lambda p: torch.optim.SGD(p, lr=0.05), schedule)
    slow = [p.detach().clone() for p in model.parameters()]
    train(model, optimizer, BATCHES[:5])
    for look in (lambda: sniper.masks, sniper.state_dict):
        with torch.no_grad():
            for p, q in zip(model.parameters(), slow, strict=True):
                p.copy_(q)
        saved, _ = model.state_dict(), look()
        for name, mask in sniper.masks.items():
            assert not saved[name][~mask].any() and saved[name][mask].any()


class OwnGroups(torch.optim.SGD):
    """Goes through its groups together with values of its own."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)
        self.own = (0,) * len(self.param_groups)

    def step(self, closure=None):
        for group, _ in zip(self.param_groups, self.own, strict=False):
            for p in group["params"]:
                p.data.sub_(group["lr"] * p.grad)


class OwnRate(torch.optim.SGD):
    """Has a rate that is not in its groups."""

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(0.1 * p.grad)


@pytest.mark.parametrize(
    ("kind", "message", "scaling"),
    [
        (OwnGroups, "OwnGroups does not use every one of its parameter groups", "global"),
        (OwnRate, "OwnRate does not read the rates of its parameter groups", "none"),
    ],
)
def test_rates_that_do_not_reach_all_parameters_are_told(kind, message, scaling):
    model, optimizer, sniper = built(lambda p: kind(p, lr=0.1), SparsitySchedule.constant(0.5))
    with pytest.warns(UserWarning, match=f"{message}.* lr_scaling is '{scaling}'"):
        train(model, optimizer, BATCHES[:1])
    rates = set(sniper.learning_rates().values())
    assert len(rates) == 1 and (rates == {0.1}) == (scaling == "none")
    before = [p.detach().clone() for p in model.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(model, optimizer, BATCHES[1:2])
    for old, p in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, p)
        torch.testing.assert_close(p.detach(), old - next(iter(rates)) * p.grad)
    again = built(lambda p: kind(p, lr=0.1), SparsitySchedule.constant(0.5), scores=False)[2]
    again.load_state_dict(sniper.state_dict())
    assert set(again.learning_rates().values()) == rates


def test_optimizers_without_a_rate_for_each_group_are_refused():
    model = small_model()
    scores = magnitude_scores(model)
    one_rate = torch.optim.SGD(model.parameters(), lr=1.0)
    one_rate.param_groups[0] |= {"d": 1e-6, "d0": 1e-6}  # as Prodigy and D-Adaptation have
    with pytest.raises(ValueError, match="one learning rate .* lr_scaling='none' or 'global'"):
        Sniper(model, one_rate, scores, SparsitySchedule.constant(0.5))
    own_list = torch.optim.SGD(model.parameters(), lr=0.1)
    own_list.base_rates = [0.1]  # as AdaBound has
    with pytest.raises(ValueError, match=r"groups \(base_rates\), .* lr_scaling='global' or"):
        Sniper(model, own_list, scores, SparsitySchedule.constant(0.5))
    no_rate = torch.optim.SGD(model.parameters(), lr=0.1)
    no_rate.param_groups[0]["lr"] = None  # as Adafactor has
    with pytest.raises(ValueError, match="no learning rate to scale: use lr_scaling='none'"):
        Sniper(model, no_rate, scores, SparsitySchedule.constant(0.5))
    assert all(p.detach().all() for p in prunable_parameters(model).values())
    sniper = Sniper(model, no_rate, scores, SparsitySchedule.constant(0.5), lr_scaling="none")
    assert sniper.learning_rates() == {}
