"""What counts as an update: steps within steps, steps that change nothing, steps without hooks."""

import warnings

import pytest
import torch
from sniper_cases import attached, cross_entropy, small_batches, small_model, train
from torch.distributed.checkpoint.state_dict import get_state_dict

from sniper import Sniper, SparsitySchedule, magnitude_scores

SCHEDULE = SparsitySchedule.steps({0: 0.6, 3: 0.3})
BATCHES = small_batches(6)


class Doubled(torch.optim.AdamW):
    """Calls the step of its base class, whose hooks run as well."""

    def step(self, closure=None):
        return super().step(closure)


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation in two steps, neither of which is `step`."""

    def __init__(self, params, **settings):
        super().__init__(params, settings)
        self.base = torch.optim.SGD(self.param_groups, **settings)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old"] = p.clone()
                p.add_(p.grad, alpha=0.05)

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["old"])
        self.base.step()


class Wrapper(torch.optim.Optimizer):
    """Keeps an optimizer and passes on its steps, without being set up itself, like accelerate."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    @property
    def param_groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state

    @property
    def defaults(self):
        return self.optimizer.defaults

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


def sniper_of(make):
    model = small_model()
    optimizer = make(model.parameters())
    return model, optimizer, Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)


def final_weights(make, step):
    model, optimizer, sniper = sniper_of(make)
    for batch in BATCHES:
        step(model, optimizer, batch)
    assert sniper.update == 6 and sniper.sparsity == 0.3
    return list(model.parameters())


def ordinary(model, optimizer, batch):
    train(model, optimizer, [batch])


def with_closure(model, optimizer, batch):
    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model, batch)
        loss.backward()
        return loss

    optimizer.step(closure)


def test_a_step_within_a_step_counts_once():
    torch.optim.AdamW(small_model().parameters())  # from now on its step runs hooks
    for step in (ordinary, with_closure):
        single = final_weights(lambda p: torch.optim.AdamW(p, lr=0.01), step)
        double = final_weights(lambda p: Doubled(p, lr=0.01), step)
        assert all(torch.equal(a, b) for a, b in zip(single, double, strict=True))


def test_wrapped_optimizers_are_followed():
    plain = final_weights(lambda p: torch.optim.AdamW(p, lr=0.01), ordinary)
    wrapped = final_weights(lambda p: Wrapper(torch.optim.AdamW(p, lr=0.01)), ordinary)
    assert all(torch.equal(a, b) for a, b in zip(plain, wrapped, strict=True))


def test_both_steps_of_sam_are_one_update_at_scaled_rates():
    model, optimizer, sniper = sniper_of(lambda p: SAM(p, lr=0.1))
    rates = []
    optimizer.base.register_step_pre_hook(
        lambda o, *_: rates.append(sorted({g["lr"] for g in o.param_groups}))
    )
    for batch in BATCHES:
        for step in (optimizer.first_step, optimizer.second_step):
            optimizer.zero_grad()
            cross_entropy(model, batch).backward()
            step()
    assert sniper.update == 6 and sniper.sparsity == 0.3
    assert all(len(each) > 1 for each in rates)
    for name, mask in sniper.masks.items():
        assert not model.get_parameter(name).detach()[~mask].any()


def test_an_optimizer_that_wraps_several_is_refused():
    class Several(torch.optim.SGD):
        pass

    model = small_model()
    optimizer = Several(model.parameters(), lr=0.1)
    optimizer.one, optimizer.two = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    with pytest.raises(ValueError, match=r"Several wraps several optimizers \(SGD, SGD\)"):
        Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)


@pytest.mark.parametrize("fused", [False, True])
def test_updates_that_a_gradient_scaler_skips_do_not_count(fused):
    model, optimizer, sniper = sniper_of(lambda p: torch.optim.AdamW(p, lr=0.01, fused=fused))
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    for number, batch in enumerate(BATCHES):
        optimizer.zero_grad()
        scaler.scale(cross_entropy(model, batch)).backward()
        if number % 2:
            model[3].bias.grad[0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
    assert sniper.update == 3 and sniper.sparsity == 0.3


def test_steps_that_only_create_states_do_not_count():
    """torch.distributed.checkpoint makes a step at rate 0 with gradients of zeros."""
    model, optimizer, sniper = sniper_of(lambda p: torch.optim.AdamW(p, lr=0.01))
    get_state_dict(model, optimizer)
    assert optimizer.state and sniper.update == 0
    optimizer.zero_grad()
    optimizer.step()
    assert sniper.update == 0
    train(model, optimizer, BATCHES)
    assert sniper.update == 6


def test_updates_of_a_warm_up_from_rate_zero_count():
    model, optimizer, sniper = sniper_of(lambda p: torch.optim.AdamW(p, lr=0.01))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: u / 10)
    train(model, optimizer, BATCHES[:1], scheduler)
    assert sniper.update == 1


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_without_updates_are_told_once(to_none):
    model, _, sniper = sniper_of(lambda p: torch.optim.SGD(p, lr=0.1))
    another = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for batch in BATCHES * 3:
            another.zero_grad(set_to_none=to_none)
            cross_entropy(model, batch).backward()
            another.step()
    assert sniper.update == 0
    told = [str(each.message) for each in told if "gradients keep coming" in str(each.message)]
    assert len(told) == 1 and "attach one to that optimizer" in told[0]


def test_accumulation_and_line_searches_are_not_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, optimizer, sniper = attached(SCHEDULE)
        for batch in BATCHES * 10:
            cross_entropy(model, batch).backward()
        optimizer.step()
        assert sniper.update == 1
        model = small_model()
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20)
        sniper = Sniper(model, optimizer, magnitude_scores(model), SCHEDULE, lr_scaling="none")
        for batch in BATCHES[:2]:
            with_closure(model, optimizer, batch)
        assert sniper.update == 2


@pytest.mark.parametrize("keep_error", [True, False])
def test_a_scheduler_goes_on_after_a_step_that_failed(keep_error):
    rates, kept = {}, []
    for sparse in (False, True):
        model = small_model()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        sniper = Sniper(model, optimizer, magnitude_scores(model), SCHEDULE) if sparse else None
        failing = [1, 3]

        def fail(*_, failing=failing):
            if failing[0] == 0:
                failing.pop(0)
                raise MemoryError
            failing[0] -= 1

        optimizer.register_step_pre_hook(fail)
        for batch in BATCHES[:4]:
            try:
                train(model, optimizer, [batch])
            except MemoryError as error:
                kept += [error] if keep_error and not sparse else []
            scheduler.step()
            rates.setdefault(sparse, []).append(optimizer.param_groups[0]["lr"])
    assert rates[True] == rates[False]
    assert sniper.update == 3


@pytest.mark.parametrize("whole", [False, True])
def test_compiled_steps(whole):
    """The eager backend traces as others do, and needs no compiler."""

    def results(compiled):
        model, optimizer, sniper = sniper_of(lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.01)))
        step = optimizer.step

        def update(batch):
            optimizer.zero_grad()
            cross_entropy(model, batch).backward()
            step()

        if compiled and whole:
            update = torch.compile(update, backend="eager")
        elif compiled:
            step = torch.compile(step, backend="eager")
        for batch in BATCHES:
            update(batch)
        assert sniper.update == 6 and sniper.sparsity == 0.3
        return list(model.parameters())

    for a, b in zip(results(False), results(True), strict=True):
        torch.testing.assert_close(a, b)
