"""FLOPs, compact checkpoints, sparse layouts, imported masks and pictures."""

import builtins

import numpy as np
import pytest
import torch
from sniper_cases import attached, cross_entropy, reference_case, small_batches, small_model, train
from torch import nn
from torch.nn.utils import prune

import sniper
from sniper import (
    RigL,
    Sniper,
    SparsitySchedule,
    Switch,
    compact,
    count_flops,
    expand,
    imported_masks,
    magnitude_scores,
    make_permanent,
    sparsity_of,
    to_sparse,
)

# ---- FLOPs


def counted(model=None, batches=1):
    model = model or small_model()
    return count_flops(model, lambda m: [m(x) for x, _ in small_batches(batches)])


def test_operations_of_two_layers_counted_by_hand():
    """A convolution over 12 x 8 positions of 6 x 2 x 3 weights; a matrix of 48 x 10 for 12."""
    flops = counted()
    assert flops.weights["0.weight"] == 2 * 12 * 8 * 6 * 2 * 3
    assert flops.weights["3.weight"] == 2 * 12 * 48 * 10
    assert flops.other == 0
    dense = flops.weights["0.weight"] + flops.weights["3.weight"] + 2 * 12 * 10 * 4
    assert flops.forward() == dense and flops.update() == 3 * dense
    half = {"0.weight": 0.5, "3.weight": 0.25}
    assert flops.forward(half) == dense - 0.5 * 2 * 3456 - 0.25 * 2 * 5760
    assert flops.update(half, pruned="frozen") == 2 * dense + flops.forward(half)


def test_a_schedule_is_summed_over_its_phases():
    flops, sparse = counted(), {"3.weight": 0.5}
    record = [Switch(0, 0.5, 0.5, sparse), Switch(10, 0.0, 0.0, {"3.weight": 0.0})]
    by_hand = 10 * flops.update(sparse) + 30 * flops.update()
    assert flops.training(record, updates=40) == by_hand
    assert flops.training(record, updates=5) == 5 * flops.update(sparse)
    assert flops.training([], updates=7) == 7 * flops.update()
    # RigL computes the gradients of all weights at updates 4, 8 of the first ten.
    rigl = RigL(every=4, until=10)
    extra = 2 * (flops.forward() - flops.forward(sparse))
    assert flops.training(record, updates=40, strategy=rigl) == by_hand + extra


def test_counting_leaves_the_model_as_it_was_and_names_what_it_cannot_count():
    model = nn.Sequential(nn.Linear(48, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model.unused = nn.Linear(3, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="no operations were counted for unused.weight"):
        flops = count_flops(model, lambda m: m[:3](torch.ones(5, 48)))
    assert flops.weights == {"0.weight": 2 * 5 * 48 * 4, "0.bias": 0, "1.weight": 0, "1.bias": 0,
                             "unused.weight": 0, "unused.bias": 0}  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_attention_is_counted_by_its_weights_and_the_rest_as_other():
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.ones(3, 5, 8)
    flops = count_flops(model.train(), lambda m: m(x, x, x, need_weights=True))
    assert flops.weights["in_proj_weight"] == 2 * 15 * 8 * 24
    assert flops.weights["out_proj.weight"] == 2 * 15 * 8 * 8
    assert flops.other == 2 * (2 * 3 * 5 * 5 * 8)  # queries by keys, and weights by values


# ---- checkpoints


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_compact_checkpoints_are_smaller_and_hold_the_same_bits(tmp_path, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 100), nn.BatchNorm1d(100), nn.Linear(100, 3)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Sniper(model, optimizer, magnitude_scores(model), 0.8)
    state = model.state_dict() | {"number": 3}
    state["0.weight"][0, :3] = -0.0
    torch.save(state, tmp_path / "dense.pt")
    torch.save(compact(state), tmp_path / "compact.pt")
    again = expand(torch.load(tmp_path / "compact.pt", weights_only=True))
    assert again.keys() == state.keys() and again["number"] == 3
    for name, value in model.state_dict().items():
        assert again[name].dtype == value.dtype and torch.equal(again[name], value)
    assert again["0.weight"][0, :3].signbit().all()
    bits = 8 * torch.finfo(dtype).bits // 8
    ratio = (tmp_path / "compact.pt").stat().st_size / (tmp_path / "dense.pt").stat().st_size
    assert ratio < 0.2 + 1 / bits + 0.15  # a fifth of the values, a bit for each, and overhead


def test_what_would_not_get_smaller_stays_as_it_is():
    state = {
        "dense": torch.ones(100),
        "few": torch.tensor([1.0, 0.0]),
        "whole": torch.zeros(9).int(),
    }
    assert all(stored is state[name] for name, stored in compact(state).items())


def test_permanent_masks_leave_an_ordinary_model():
    model, optimizer, attached_sniper = attached(0.4)
    train(model, optimizer, small_batches(2))
    with torch.no_grad():
        model[3].weight.add_(1)  # what somebody changes after the last update
    masks = make_permanent(attached_sniper)
    for name, mask in masks.items():
        assert ((model.get_parameter(name) != 0) == mask).all()
    train(model, optimizer, small_batches(1))
    assert model[3].weight[~masks["3.weight"]].any()
    with pytest.raises(ValueError, match="no zeros to make permanent"):
        make_permanent(attached(0.4, pruned="frozen")[2])


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_sparse_layouts_give_the_same_output(layout):
    model, optimizer, _ = attached(0.6)
    train(model, optimizer, small_batches(2))
    sparse, x = to_sparse(model, layout), small_batches(1)[0][0]
    assert sparse[3].weight.layout == getattr(torch, f"sparse_{layout}")
    assert sparse[0].weight.layout == torch.strided  # a convolution
    torch.testing.assert_close(sparse(x), model.eval()(x))
    assert model[3].weight.layout == torch.strided


def test_layouts_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match="layout is csr, csc or 2:4, not 'coo'"):
        to_sparse(small_model(), "coo")
    with pytest.raises(ValueError, match="no linear layer has zeros"):
        to_sparse(small_model())
    with pytest.raises(ValueError, match="3 has more than two weights other than 0 in four"):
        to_sparse(attached(0.3)[0], "2:4")
    model = nn.Sequential(nn.Linear(64, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Sniper(model, optimizer, magnitude_scores(model), 0.5, pattern="2:4")
    with pytest.raises(ValueError, match="0 is torch.float32 on cpu, but 16 bits on a GPU"):
        to_sparse(model, "2:4")


# ---- imports


def masked_again(masks, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Sniper(model, optimizer, masks, sparsity_of(masks)).masks


@pytest.mark.parametrize("as_state", [False, True])
def test_masks_of_torch_prune(as_state):
    model = small_model()
    prune.l1_unstructured(model[3], "weight", amount=0.37)
    prune.random_unstructured(model[0], "weight", amount=5)
    masks = imported_masks(model.state_dict() if as_state else model)
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == {
        "0.weight": 5,
        "3.weight": round(0.37 * 480),
    }
    assert torch.equal(masks["3.weight"], model[3].weight_mask.bool())
    again = masked_again(masks, small_model())
    assert all(torch.equal(again[name], mask) for name, mask in masks.items())


def test_masks_of_the_papers_code(tmp_path):
    """Its file of masks, and its checkpoint, in which masked weights were zeroed by a forward."""
    model, _, arrays = reference_case()
    prefix = "mask/40_cap75/"
    found = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    masks = {name: torch.tensor(np.asarray(v)).bool() for name, v in found.items()}
    torch.save(masks, tmp_path / "masks_40_max75.pt")
    read = imported_masks(torch.load(tmp_path / "masks_40_max75.pt", weights_only=True), "tts.")
    assert read.keys() == {f"tts.{name}" for name in masks}
    assert all(torch.equal(read[f"tts.{name}"], mask) for name, mask in masks.items())
    again = masked_again(masks, model)
    assert all(torch.equal(again[name], mask) for name, mask in masks.items())
    state = {
        n: value * masks[n] if n in masks else value for n, value in model.state_dict().items()
    }
    weights = imported_masks(state)
    expected = {n: m for n, m in masks.items() if m.dim() > 1 and not m.all()}
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], mask) for name, mask in expected.items())


def test_no_masks_are_an_error():
    with pytest.raises(ValueError, match="no masks: neither bool tensors"):
        imported_masks(small_model())


# ---- pictures


def test_a_picture_of_the_sparsity_of_each_tensor(tmp_path):
    schedule = SparsitySchedule.steps({0: 0.5, 2: 0.2, 4: 0.0})
    model, optimizer, attached_sniper = attached(schedule)
    train(model, optimizer, small_batches(5))
    axes = sniper.plot(attached_sniper.record, updates=10)
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"0.weight", "3.weight", "5.weight", "all"}
    assert list(lines["all"].get_xdata()) == [0, 2, 4, 10]
    drawn = [100 * switch.tensors["3.weight"] for switch in attached_sniper.record]
    assert list(lines["3.weight"].get_ydata()) == [*drawn, drawn[-1]]
    axes.figure.savefig(tmp_path / "sparsity.png")
    assert (tmp_path / "sparsity.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="the record is empty"):
        sniper.plot([])


def test_without_matplotlib_only_pictures_are_missing(monkeypatch):
    present = builtins.__import__

    def absent(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return present(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match="matplotlib"):
        sniper.plot(attached(0.4)[2].record)


def test_the_loss_of_a_batch_can_be_counted_too():
    batch = small_batches(1)[0]
    assert count_flops(small_model(), lambda m: cross_entropy(m, batch)) == counted()
