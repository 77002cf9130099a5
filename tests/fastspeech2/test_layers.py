"""Building blocks against PyTorch's own and against loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from fastspeech2.model.layers import Dropout, FFTBlock, SelfAttention, TimeConv1d, sinusoids
from fastspeech2.packing import (
    attention_groups,
    pack_lengths,
    padding_mask,
    phone_of_frame,
    plan_frames,
    position_in_phone,
)
from fastspeech2.settings import DropoutSettings

NO_DROPOUT = DropoutSettings(input=0.0, attention=0.0, hidden=0.0, residual=0.0)


@pytest.mark.parametrize("inputs, outputs", [(8, 16), (16, 8)])
@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_time_convolution_is_torchs_conv1d(kernel, inputs, outputs):
    layer = TimeConv1d(inputs, outputs, kernel)
    x = torch.randn(2, 11, inputs)
    expected = F.conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=kernel // 2).transpose(
        1, 2
    )
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 9])
def test_time_convolution_in_bfloat16(kernel):
    """Under autocast, values and gradients agree with PyTorch's conv1d to bfloat16's eight bits."""
    layer = TimeConv1d(8, 16, kernel)
    x = torch.randn(2, 11, 8, requires_grad=True)
    y = F.conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=kernel // 2).transpose(1, 2)
    wanted = [y, *torch.autograd.grad(y.square().sum(), [x, layer.weight, layer.bias])]
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    found = [y, *torch.autograd.grad(y.float().square().sum(), [x, layer.weight, layer.bias])]
    for ours, exact in zip(found, wanted, strict=True):
        assert (ours - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("by_length", [False, True])
@pytest.mark.parametrize("lengths", [[7, 4, 1], [5, 5], [1], [40, 3, 38, 9, 4, 300]])
def test_attention_is_torchs_masked_attention(lengths, by_length):
    attention = SelfAttention(16, heads=2, dropout=0.0).eval()
    batch, size, lengths = len(lengths), max(lengths), torch.tensor(lengths)
    x, mask = torch.randn(batch, size, 16), padding_mask(lengths, size)
    heads = [
        layer(x).view(batch, size, 2, 8).transpose(1, 2)
        for layer in (attention.query, attention.key, attention.value)
    ]
    context = F.scaled_dot_product_attention(*heads, attn_mask=mask[:, None, None, :])
    expected = attention.output(context.transpose(1, 2).reshape(batch, size, 16))
    packing = pack_lengths(lengths, gap=2)
    groups = attention_groups(packing, by_length)
    found = packing.unpack(attention(packing.pack(x), groups), size)
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("kernels", [(9, 1), (3, 3)])
def test_block_does_not_see_other_sequences(norm, kernels):
    block = FFTBlock(16, 2, 32, kernels, NO_DROPOUT, norm, attention=True).eval()
    x = torch.randn(1, 9, 16)
    alone = pack_lengths(torch.tensor([9]), gap=4)
    beside = pack_lengths(torch.tensor([3, 9, 14]), gap=4)
    others = torch.randn(3, 14, 16)
    others[1, :9] = x[0]
    expected = alone.unpack(block(alone.pack(x), alone, attention_groups(alone, True)), 9)
    found = block(beside.pack(others), beside, attention_groups(beside, True))
    torch.testing.assert_close(beside.unpack(found, 14)[1:2, :9], expected, atol=1e-5, rtol=1e-5)
    assert not (found * ~beside.inside).any()


def test_sinusoids_are_the_published_formula():
    table = sinusoids(5, 6, torch.device("cpu"))
    for position in range(5):
        for pair in range(3):
            angle = position / 10000 ** (2 * pair / 6)
            assert table[position, 2 * pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_length_regulation_is_repetition():
    durations = torch.tensor([[2, 0, 3, 1], [1, 4, 0, 0]])
    x = torch.randn(2, 4, 5)
    phones = pack_lengths(torch.tensor([4, 2]), 1)
    plan = plan_frames(phones, durations, 1, 3, torch.device("cpu"))
    rows = phones.pack(x).index_select(1, plan.phone_row) * plan.packing.inside
    regulated = plan.packing.unpack(rows, plan.frames)
    for row in range(2):
        expected = torch.repeat_interleave(x[row], durations[row], dim=0)
        torch.testing.assert_close(regulated[row, : len(expected)], expected)
        assert not regulated[row, len(expected) :].any()


def test_position_in_phone():
    durations = torch.tensor([[2, 4]])
    index, ends = phone_of_frame(durations, 6)
    position = position_in_phone(durations, index, ends)[0]
    from_start = [0.25, 0.75, 0.125, 0.375, 0.625, 0.875]
    torch.testing.assert_close(position[:, 0], torch.tensor(from_start))
    torch.testing.assert_close(position[:, 1], 1 - torch.tensor(from_start))
    torch.testing.assert_close(position[:, 2], torch.tensor([2.0, 2, 4, 4, 4, 4]).log())


@pytest.mark.parametrize("p", [0.0, 0.05, 0.2, 0.5])
def test_dropout_zeroes_with_probability_p_and_scales_the_rest(p):
    layer = Dropout(p)
    x = (torch.rand(3, 333, 101) + 1).requires_grad_()
    torch.manual_seed(1)
    y = layer(x)
    kept = y != 0
    deviation = math.sqrt(p * (1 - p) / x.numel())
    assert abs((~kept).float().mean() - p) <= 5 * deviation
    # All four parts of the generator's 64 bit numbers are equally random.
    flat = kept.flatten()[: x.numel() // 4 * 4].view(-1, 4).float()
    assert ((flat.mean(0) - (1 - p)).abs() <= 10 * deviation).all()
    correlation = (flat[:, 0] - flat[:, 0].mean()) * (flat[:, 1] - flat[:, 1].mean())
    assert correlation.mean().abs() < 0.005
    torch.testing.assert_close(y, torch.where(kept, x / (1 - p), 0.0))
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept / (1 - p))
    torch.manual_seed(1)
    assert torch.equal(layer(x), y)
    assert layer.eval()(x) is x
