import copy
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sniper_cases import (
    OPTIMIZERS,
    assert_sparse,
    attached,
    count,
    cross_entropy,
    small_batches,
    small_model,
    train,
)
from torch import nn

from sniper import (
    Sniper,
    SparsitySchedule,
    magnitude_scores,
    prunable_parameters,
    snip_scores,
)


@st.composite
def models(draw):
    torch.manual_seed(draw(st.integers(0, 99)))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    layers = [nn.Flatten(), nn.Linear(16, sizes[0])]
    for before, after in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Tanh(), nn.LayerNorm(before), nn.Linear(before, after, draw(st.booleans()))]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 4))


sparsities = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.65])
schedules = st.dictionaries(st.integers(1, 8), sparsities, max_size=4)


@settings(deadline=None, max_examples=120)
@given(
    models(),
    st.sampled_from(list(OPTIMIZERS)),
    sparsities,
    schedules,
    st.sampled_from(["per_tensor", "global", "none"]),
    st.sampled_from(["init", "zero"]),
    st.booleans(),
)
def test_invariants(model, optimizer, start, later, lr_scaling, regrowth, clip):
    """Weights are sparse after every update, and return at their initial values at a fall."""
    initial = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    batches = small_batches(9)
    sniper = Sniper(
        model,
        optimizer,
        snip_scores(model, cross_entropy, batches[:2]),
        SparsitySchedule.steps({0: start} | later),
        lr_scaling=lr_scaling,
        regrowth=regrowth,
    )
    assert_sparse(model, optimizer, sniper)
    for batch in batches:
        before, old = sniper.sparsity, sniper.masks
        train(model, optimizer, [batch], clip=0.1 if clip else None)
        assert_sparse(model, optimizer, sniper)
        new = sniper.masks
        for name, p in ((n, p) for n, p in model.named_parameters() if n in new):
            if sniper.sparsity <= before:
                assert not (old[name] & ~new[name]).any()
            if sniper.sparsity >= before:
                assert not (new[name] & ~old[name]).any()
            regrown = new[name] & ~old[name]
            expected = initial[name] if regrowth == "init" else torch.zeros_like(p)
            assert torch.equal(p[regrown], expected[regrown])
    assert [switch.nominal for switch in sniper.record][0] == start


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_constant_sparsity_equals_multiplying_by_the_mask_in_the_forward_pass(optimizer):
    """Compare with a dense model whose forward pass uses mask * weight."""
    batches, plain = small_batches(6), small_model()
    scores = snip_scores(plain, cross_entropy, batches[:2])
    model = copy.deepcopy(plain)
    sparse = OPTIMIZERS[optimizer](model.parameters())
    sniper = Sniper(
        model, sparse, scores, SparsitySchedule.constant(0.4), lr_scaling="none", cap=0.9
    )
    masks, dense = sniper.masks, OPTIMIZERS[optimizer](plain.parameters())
    for batch in batches:
        train(model, sparse, [batch])
        dense.zero_grad()
        masked = {n: p * masks[n] if n in masks else p for n, p in plain.named_parameters()}
        output = torch.func.functional_call(plain, masked, (batch[0],))
        nn.functional.cross_entropy(output, batch[1]).backward()
        dense.step()
    for (name, a), b in zip(model.named_parameters(), plain.parameters(), strict=True):
        expected = b * masks[name] if name in masks else b
        torch.testing.assert_close(a, expected, rtol=1e-5, atol=1e-6)


def test_per_tensor_rates_equal_parameter_groups_set_up_by_hand():
    batches, plain = small_batches(6), small_model()
    model = copy.deepcopy(plain)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scores = snip_scores(model, cross_entropy, batches)
    sniper = Sniper(model, optimizer, scores, SparsitySchedule.constant(0.5))
    masks = sniper.masks
    with torch.no_grad():
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)
    groups = [
        {"params": [p], "lr": 0.01 * min(4.0, float(1 / masks[n].double().mean())) if n in masks
         else 0.01}
        for n, p in plain.named_parameters()
    ]  # fmt: skip
    by_hand = torch.optim.AdamW(groups)
    for batch in batches:
        train(model, optimizer, [batch])
        by_hand.zero_grad()
        cross_entropy(plain, batch).backward()
        for name, mask in masks.items():
            plain.get_parameter(name).grad.mul_(mask)
        by_hand.step()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_edits_by_the_user_are_noticed_at_the_next_update():
    model, optimizer, sniper = attached()
    weight, mask = model[3].weight, sniper.masks["3.weight"]
    kept = mask.nonzero()[0]
    train(model, optimizer, small_batches(2))
    with torch.no_grad():
        weight.fill_(float("inf"))
        weight[mask] = 0.5
        weight[tuple(kept)] = 2.0
    before = weight.detach().clone()
    optimizer.zero_grad()
    optimizer.step()
    assert_sparse(model, optimizer, sniper)
    assert torch.equal(weight[mask], before[mask])


def test_gradients_that_were_set_or_edited_do_not_reach_the_moments():
    model, optimizer, sniper = attached()
    for _ in range(2):
        for p in model.parameters():
            p.grad = torch.full_like(p, float("nan") if p is model[0].bias else 1.0)
        optimizer.step()
        assert_sparse(model, optimizer, sniper)


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw fused", "rmsprop"])
def test_edits_that_torch_does_not_count_reach_no_moments(optimizer):
    model, optimizer, sniper = attached(SparsitySchedule.steps({0: 0.4, 3: 0.2}), optimizer)
    for batch in small_batches(5):
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        for p in model.parameters():
            p.grad.data.add_(1.0)
        optimizer.step()
        assert_sparse(model, optimizer, sniper)


def test_accumulated_gradients_count_one_update():
    model, optimizer, sniper = attached(SparsitySchedule.steps({0: 0.4, 2: 0.0}))
    for _ in range(2):
        for batch in small_batches(3):
            cross_entropy(model, batch).backward()
            for name, mask in sniper.masks.items():
                assert not model.get_parameter(name).grad[~mask].any()
        optimizer.step()
        optimizer.zero_grad()
    assert sniper.update == 2 and sniper.sparsity == 0


def held_bytes(sniper):
    """Return the size of all tensors that the object holds, without model and optimizer."""
    tensors, seen = {}, set()

    def walk(value):
        if id(value) in seen or isinstance(value, nn.Module | nn.Parameter | torch.optim.Optimizer):
            return
        seen.add(id(value))
        if torch.is_tensor(value):
            tensors[value.data_ptr()] = value.nbytes
        elif isinstance(value, dict):
            [walk(item) for item in value.values()]
        elif isinstance(value, list | tuple):
            [walk(item) for item in value]
        elif hasattr(value, "__dict__"):
            walk(vars(value))

    walk(vars(sniper))
    return sum(tensors.values())


def wide_model():
    """The masks of tensors as large as its weight have bytes, those of small ones words."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 4200))


@pytest.mark.parametrize(("start", "limit"), [(0.4, 0.8), (0.8, 1.3)])
@pytest.mark.parametrize(("build", "more"), [(wide_model, 0), (small_model, 0.75)])
def test_memory_and_hooks_are_released_once_dense(start, limit, build, more):
    schedule = SparsitySchedule.steps({0: start, 2: start / 2, 4: 0.0})
    model, limit = build(), limit + more
    optimizer = OPTIMIZERS["adamw decay"](model.parameters())
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule)
    size = sum(p.nbytes for p in model.parameters())
    train(model, optimizer, small_batches(1))
    assert 0.4 * size < held_bytes(sniper) < limit * size
    train(model, optimizer, small_batches(3))
    assert held_bytes(sniper) == 0
    train(model, optimizer, small_batches(1))  # the next backward pass removes the hooks
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())


def test_a_dense_schedule_costs_nothing():
    model, optimizer, sniper = attached(SparsitySchedule.constant(0))
    assert not optimizer._optimizer_step_pre_hooks and held_bytes(sniper) == 0
    twin = small_model()
    train(model, optimizer, small_batches(3))
    train(twin, OPTIMIZERS["adamw decay"](twin.parameters()), small_batches(3))
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gradual_pruning_takes_the_smallest_weights():
    schedule = SparsitySchedule.cubic(0.0, 0.6, 6)
    model, optimizer, sniper = attached(schedule, lr_scaling="none")
    for batch in small_batches(6):
        before = sniper.masks
        train(model, optimizer, [batch])
        kept, gone = [], []
        for name, mask in sniper.masks.items():
            kept.append(model.get_parameter(name)[mask].abs())
            gone.append(before[name] & ~mask)
        assert sum(int(g.sum()) for g in gone) > 0
        assert_sparse(model, optimizer, sniper)
    assert torch.cat(kept).min() > 0
    assert sniper.record[-1].achieved == pytest.approx(0.6, abs=1e-2)


def test_weights_pruned_last_return_first():
    schedule = SparsitySchedule.steps({0: 0.2, 2: 0.5, 4: 0.3, 6: 0.0})
    model, optimizer, sniper = attached(schedule)
    first = sniper.masks
    train(model, optimizer, small_batches(2))
    train(model, optimizer, small_batches(2))
    for name, mask in sniper.masks.items():
        assert not (mask & ~first[name]).any()  # the first to be pruned are still masked
    train(model, optimizer, small_batches(2))
    assert all(mask.all() for mask in sniper.masks.values()) and held_bytes(sniper) == 0


class OnAnotherDevice(torch.Tensor):
    """Mixes with ordinary tensors only in `to` and `copy_`, like a tensor on another device."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            if function is torch.Tensor.to:
                return args[0].as_subclass(torch.Tensor).clone()
        operands = [each for each in args if isinstance(each, torch.Tensor)]
        if len({type(each) for each in operands}) > 1 and function is not torch.Tensor.copy_:
            raise RuntimeError("expected all tensors to be on the same device")
        return super().__torch_function__(function, types, args, kwargs or {})


def test_scores_on_another_device_are_moved_to_the_weights():
    model, batches = small_model(), small_batches(5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scores = magnitude_scores(model)
    with pytest.raises(RuntimeError, match="same device"):
        model[0].weight.detach() + scores["0.weight"].as_subclass(OnAnotherDevice)
    elsewhere = {name: score.as_subclass(OnAnotherDevice) for name, score in scores.items()}
    sniper = Sniper(model, optimizer, elsewhere, SparsitySchedule.steps({0: 0.4, 2: 0.2, 4: 0.0}))
    train(model, optimizer, batches)
    assert [switch.update for switch in sniper.record] == [0, 2, 4]


def test_record():
    _, _, sniper = attached(SparsitySchedule.steps({0: 0.4, 2: 0.1}))
    model, optimizer = sniper._model, sniper._optimizer
    train(model, optimizer, small_batches(3))
    assert [(switch.update, switch.nominal) for switch in sniper.record] == [(0, 0.4), (2, 0.1)]
    masks = sniper.masks
    for name, sparsity in sniper.record[-1].tensors.items():
        assert sparsity == pytest.approx(1 - float(masks[name].double().mean()))
    total = sum(mask.numel() for mask in masks.values())
    assert sniper.record[-1].achieved == count(0.1, total) / total


def test_detaching_after_an_error_within_a_step_leaves_the_schedulers_rates():
    model, optimizer, sniper = attached()

    def failing(*_):
        raise OSError

    optimizer.register_step_pre_hook(failing)  # after the Sniper's own
    with pytest.raises(OSError) as error:  # which keeps the frame of the step
        optimizer.step()
    assert len(optimizer.param_groups) > 1 and error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sniper.detach()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype):
    model = small_model().to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, eps=1e-3)
    schedule = SparsitySchedule.steps({0: 0.5, 2: 0.2})
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule)
    for x, y in small_batches(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(dtype)).float(), y).backward()
        optimizer.step()
        assert_sparse(model, optimizer, sniper)


def test_models_under_sniper_can_be_copied_and_pickled():
    model, optimizer, _ = attached()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model.state_dict()))):
        state = other.state_dict() if isinstance(other, nn.Module) else other
        assert all(torch.equal(state[name], v) for name, v in model.state_dict().items())
    assert prunable_parameters(copy.deepcopy(model)).keys() == prunable_parameters(model).keys()
