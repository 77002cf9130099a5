"""Packed rows against padded batches, and gradients against finite differences."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastspeech2.kernels.convolution import neighbours
from fastspeech2.model.postnet import Postnet
from fastspeech2.packing import attention_groups, pack_lengths, padding_mask, plan_frames

LENGTHS = torch.tensor([3, 1, 5, 2])


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("size", [None, 5])
def test_unpacking_undoes_packing(gap, size):
    x = torch.randn(4, 5, 6)
    packing = pack_lengths(LENGTHS, gap, size)
    rows = packing.pack(x)
    assert rows.shape == (1, 4 * gap + (20 if size else 11), 6)
    assert not (rows * ~packing.present).any()
    expected = x if size else x * padding_mask(LENGTHS, 5)[:, :, None]
    assert torch.equal(packing.unpack(rows, 5), expected)
    assert torch.equal(
        rows[packing.inside.expand_as(rows)].view(-1, 6), x[padding_mask(LENGTHS, 5)]
    )


def test_repeated_rows_are_those_of_finer_steps():
    """Pairs of seven and four frames take eight and four rows; the eighth is outside."""
    frames = pack_lengths(torch.tensor([4, 2]), gap=1).repeated(2, torch.tensor([7, 4]))
    x = torch.arange(1.0, 15).view(2, 7, 1)
    assert frames.pack(x)[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 7, 0, 0, 8, 9, 10, 11, 0, 0]
    assert frames.inside[0, :, 0].tolist() == [True] * 7 + [False] * 3 + [True] * 4 + [False] * 2
    assert frames.unpack(frames.pack(x), 7)[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_gradients_are_those_of_finite_differences():
    """The second gradient too, because GraSP uses it."""
    packing = pack_lengths(LENGTHS, gap=1)
    groups = attention_groups(packing, by_length=True)
    assert len(groups.masks) > 1
    rows = torch.randn(1, len(packing.step), 2, dtype=torch.float64, requires_grad=True)
    functions = [
        lambda x: packing.unpack(x, 5).square(),
        lambda x: groups.join([y.square() for y, _ in groups.split(x)]),
        lambda x: neighbours(x, 3).square(),
    ]
    for function in functions:
        assert gradcheck(function, rows)
        assert gradgradcheck(function, rows)


@pytest.mark.parametrize("training", [True, False])
def test_the_norms_of_the_postnet_see_frames_only(training):
    """Even if everything else is in evaluation mode, as in scoring without dropout."""
    torch.manual_seed(0)
    postnet = Postnet(4, layers=2, channels=6, kernel=3, dropout=0.0, bias=True).train(training)
    postnet.norms.train()
    x = torch.randn(4, 5, 4)
    phones = pack_lengths(torch.ones(4, dtype=torch.long), gap=1)
    plan = plan_frames(phones, LENGTHS[:, None], 1, 1, torch.device("cpu"))
    postnet(plan.packing.pack(x), plan)
    first = postnet.convolutions[0]
    values = torch.cat([first(x[i : i + 1, :length])[0] for i, length in enumerate(LENGTHS)])
    torch.testing.assert_close(postnet.norms[0].running_mean, 0.1 * values.mean(0))
    torch.testing.assert_close(postnet.norms[0].running_var, 0.9 + 0.1 * values.var(0))
