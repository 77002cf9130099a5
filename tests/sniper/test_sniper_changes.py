"""Models of many kinds, and what may happen to them after attachment."""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from sniper_cases import (
    OPTIMIZERS,
    assert_sparse,
    attached,
    cross_entropy,
    small_batches,
    small_model,
    train,
)
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim.swa_utils import AveragedModel

from sniper import (
    Sniper,
    SparsitySchedule,
    global_masks,
    layerwise_masks,
    magnitude_scores,
    prunable_parameters,
)

SCHEDULE = SparsitySchedule.steps({0: 0.6, 3: 0.2})


# ---- after attachment


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_cast_model_goes_on(dtype):
    model, optimizer, sniper = attached(SCHEDULE, "sgd")
    model.to(dtype)
    for x, y in small_batches(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.to(dtype)).float(), y).backward()
        optimizer.step()
        assert_sparse(model, optimizer, sniper)
    assert sniper.sparsity == 0.2


def test_a_thawed_weight_has_masked_gradients():
    model = small_model()
    scores = magnitude_scores(model)
    model[3].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sniper = Sniper(model, optimizer, scores, SCHEDULE)
    assert not model[3].weight.requires_grad
    model[3].weight.requires_grad_(True)
    cross_entropy(model, small_batches(1)[0]).backward()
    assert not model[3].weight.grad[~sniper.masks["3.weight"]].any()
    assert model[3].weight.grad.any()


def replace_a_layer(model):
    model[5] = nn.Linear(10, 4)


def replace_a_parent(model):
    model[3] = nn.Sequential(nn.Linear(48, 10))


def assign_a_state(model):
    model.load_state_dict(small_model(3).state_dict(), assign=True)


@pytest.mark.parametrize("change", [replace_a_layer, replace_a_parent, assign_a_state])
def test_a_replaced_weight_is_told(change):
    model, optimizer, _ = attached(SCHEDULE)
    train(model, optimizer, small_batches(1))
    change(model)
    with pytest.raises(RuntimeError, match="replaced in the model since .*[35].weight"):
        train(model, optimizer, small_batches(1))


def test_parameters_added_later_have_the_global_rate():
    model, optimizer, sniper = attached(SparsitySchedule.constant(0.6), "sgd", lr_scaling="global")
    model.register_parameter("extra", nn.Parameter(torch.ones(3)))
    optimizer.add_param_group({"params": [model.extra]})
    rates = sniper.learning_rates()
    assert rates["extra"] == rates["3.weight"] > 0.1


def test_a_copy_of_model_optimizer_and_sniper_trains_alike():
    parts = attached(SCHEDULE)
    train(*parts[:2], small_batches(2))
    twins = copy.deepcopy(parts)
    for model, optimizer, sniper in (parts, twins):
        train(model, optimizer, small_batches(4, seed=5))
        assert sniper.update == 6
        assert_sparse(model, optimizer, sniper)
    for a, b in zip(parts[0].parameters(), twins[0].parameters(), strict=True):
        assert torch.equal(a, b) and a is not b


def test_a_sniper_is_not_pickled():
    with pytest.raises(TypeError, match="state_dict"):
        pickle.dumps(attached(SCHEDULE)[2])


def test_an_error_in_construction_leaves_the_model_as_it_was(monkeypatch):
    model = small_model()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with monkeypatch.context() as patch:
        patch.setattr(optimizer, "register_step_post_hook", lambda hook: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks
    Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)


def test_weights_copied_into_the_model_are_told_and_masked_on_request():
    model, optimizer, sniper = attached(SparsitySchedule.constant(0.6), "sgd")
    average = AveragedModel(small_model())
    sniper.apply_masks(average)
    for name, mask in sniper.masks.items():
        assert not average.module.get_parameter(name).detach()[~mask].any()
    train(model, optimizer, small_batches(1))
    model.load_state_dict(small_model(3).state_dict())
    with pytest.warns(UserWarning, match=r"0\.weight were changed outside .* call apply_masks"):
        train(model, optimizer, small_batches(1))
    model.load_state_dict(small_model(4).state_dict())
    sniper.apply_masks()
    assert_sparse(model, optimizer, sniper)


def test_gradients_set_by_hand_are_masked_on_request():
    model, _, sniper = attached(SparsitySchedule.constant(0.6))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    sniper.mask_gradients()
    for name, mask in sniper.masks.items():
        assert torch.equal(model.get_parameter(name).grad.bool(), mask)


# ---- models


@pytest.mark.parametrize(
    "wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel, lambda m: m]
)
def test_names_of_wrapped_models_are_those_of_the_model(wrap):
    model = small_model()
    model[3] = torch.compile(model[3], backend="eager")
    wrapped, expected = wrap(model), ["0.weight", "3.weight", "5.weight"]
    assert list(magnitude_scores(wrapped)) == list(magnitude_scores(model)) == expected
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sniper = Sniper(wrapped, optimizer, magnitude_scores(small_model()), SCHEDULE)
    train(wrapped, optimizer, small_batches(4))
    assert list(sniper.masks) == expected
    assert {"0.weight", "3.bias"} < set(sniper.learning_rates())
    plain = small_model()
    again = Sniper(plain, torch.optim.SGD(plain.parameters(), lr=0.1), None, SCHEDULE)
    again.load_state_dict(sniper.state_dict())
    assert again.update == 4


def test_sharded_models_are_refused(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    try:
        model = small_model()
        scores = magnitude_scores(model)
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(ValueError, match=r"0\.weight is sharded over devices"):
            Sniper(model, optimizer, scores, SCHEDULE)
    finally:
        torch.distributed.destroy_process_group()


def test_a_tensor_with_two_names_is_not_scored_twice():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    scores = {name: torch.rand(4, 4) for name in ("0.weight", "2.weight")}
    with pytest.raises(ValueError, match=r"2\.weight is the same tensor as 0\.weight"):
        Sniper(model, torch.optim.SGD(model.parameters(), lr=0.1), scores, SCHEDULE)


def test_recurrent_and_attention_weights_are_prunable():
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(4, 5, proj_size=3),
            "cell": nn.GRUCell(4, 5),
            "attention": nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        }
    )
    assert list(prunable_parameters(model)) == [
        *("lstm.weight_ih_l0", "lstm.weight_hh_l0", "lstm.weight_hr_l0"),
        *("cell.weight_ih", "cell.weight_hh"),
        *(f"attention.{letter}_proj_weight" for letter in "qkv"),
        "attention.out_proj.weight",
    ]
    assert len(prunable_parameters(model, types=[nn.LSTM])) == 3
    nn.utils.parametrizations.weight_norm(model["lstm"], "weight_hh_l0")
    with pytest.raises(ValueError, match=r"lstm\.weight_hh_l0 cannot be masked"):
        prunable_parameters(model)


def test_a_sliver_of_a_model_is_told():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(20, 20))

    model = nn.Sequential(Dense(), nn.Linear(20, 3), nn.Embedding(10, 5))
    with pytest.warns(UserWarning, match=r"only 11\.7% .* 513 .* Dense 78%, Embedding 10%, Linear"):
        prunable_parameters(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(prunable_parameters(model, types=(Dense, nn.Linear))) == 2


def test_complex_weights_and_sparse_gradients():
    model = nn.Linear(6, 6, dtype=torch.complex128)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sniper = Sniper(model, optimizer, magnitude_scores(model), SCHEDULE)
    model(torch.randn(3, 6, dtype=torch.complex128)).abs().sum().backward()
    optimizer.step()
    assert_sparse(model, optimizer, sniper)
    table = nn.EmbeddingBag(9, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters())
    scores = magnitude_scores(table, types=(nn.EmbeddingBag,))
    sniper = Sniper(table, optimizer, scores, SparsitySchedule.constant(0.5), lr_scaling="none")
    before = table.weight.detach().clone()
    table(torch.tensor([[1, 2, 1], [3, 1, 8]])).sum().backward()
    optimizer.step()
    assert_sparse(table, optimizer, sniper)
    assert not torch.equal(before, table.weight)


# ---- numbers and settings


def test_counts_are_those_of_the_decimal_fraction():
    for total in (100, 1000, 99_900):
        for percent in range(101):
            masks = global_masks({"a": torch.arange(float(total))}, percent / 100)
            assert int((~masks["a"]).sum()) == percent * total // 100
    scores = {"a": torch.rand(100), "b": torch.rand(100)}
    for make in (global_masks, layerwise_masks):
        masks = make(scores, 0.29, cap=0.29)
        assert [int((~mask).sum()) for mask in masks.values()] == [29, 29]


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_scores_may_be_whole_numbers(dtype):
    masks = global_masks({"a": torch.tensor([1, 0, 1, 0]).to(dtype)}, 0.5)
    assert masks["a"].tolist() == [True, False, True, False]


@pytest.mark.parametrize("make", [global_masks, layerwise_masks])
def test_min_density(make):
    scores = {"low": torch.zeros(10), "high": torch.arange(1.0, 31)}
    for floor in (0.3, {"low": 0.3}, {"l*": 0.3, "high": 0.1}):
        masks = make(scores, 0.7, min_density=floor)
        assert {n: int(mask.sum()) for n, mask in masks.items()} == {"low": 3, "high": 9}
    with pytest.raises(ValueError, match="0.9 cannot be reached with this min_density"):
        global_masks(scores, 0.9, min_density=0.3)
    with pytest.raises(ValueError, match="'middle' of min_density matches no scored parameter"):
        global_masks(scores, 0.5, min_density={"middle": 0.3})


def test_tensors_that_die_are_told():
    model = small_model()
    nn.init.zeros_(model[5].weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning) as told:
        sniper = Sniper(model, optimizer, magnitude_scores(model), SparsitySchedule.constant(0.5))
    texts = "; ".join(str(each.message) for each in told)
    assert "pruned whole: 5.weight (7.2% of the prunable weights)" in texts
    assert "scores are all zero, so pruned first: 5.weight (7.2%" in texts
    sniper.detach()
    sniper = Sniper(
        model,
        optimizer,
        magnitude_scores(model),
        SparsitySchedule.constant(0.5),
        min_density={"5.weight": 0.25},
    )
    assert sniper.masks["5.weight"].sum() == 10


@pytest.mark.parametrize(
    "schedule", [{0: 0.6, 3: 0.2}, {"0": 0.6, "3": 0.2}, [[0, 0.6], [3, 0.2]], np.float64(0.6), 0.6]
)
def test_schedules_may_be_plain(schedule):
    _, _, sniper = attached(schedule)
    constant = SparsitySchedule.constant(0.6)
    assert sniper.schedule == (constant if np.isscalar(schedule) else SCHEDULE)


def test_settings_of_numpy_and_of_json_are_the_same(tmp_path):
    _, _, sniper = attached(SCHEDULE, cap=np.float64(0.9), max_lr_scale=np.int64(3))
    torch.save(sniper.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["settings"] = json.loads(json.dumps(state["settings"]))
    model = small_model()
    optimizer = OPTIMIZERS["adamw decay"](model.parameters())
    Sniper(model, optimizer, None, SCHEDULE, cap=0.9, max_lr_scale=3).load_state_dict(state)


def test_repr_says_what_is_pruned_now_and_next():
    model, optimizer, sniper = attached(SCHEDULE)
    assert repr(sniper) == (
        "Sniper(update 0, sparsity 0.6 (achieved 0.598921), next 0.2 at update 3; "
        "556 of 596 weights prunable, 93.3%)"
    )
    train(model, optimizer, small_batches(3))
    assert "update 3, sparsity 0.2 (achieved 0.199" in repr(sniper)
    assert "no switch left" in repr(sniper)
