"""Toom and Cook's convolution against torch's own."""

import pytest
import torch
import torch.nn.functional as F

from fastspeech2.layers import TimeConv1d
from fastspeech2.toom_cook import toom_cook_convolution


def torchs(x, weight, bias):
    """Rows `[time, inputs]` through `F.conv1d`."""
    return F.conv1d(x.T[None], weight, bias, padding=weight.shape[2] // 2)[0].T


def with_gradients(convolution, *tensors, towards):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    y = convolution(*tensors)
    return [y, *torch.autograd.grad(y, tensors, towards)]


@pytest.mark.parametrize("time", [1, 2, 3, 9, 10, 40])
@pytest.mark.parametrize("kernel", [1, 3, 5, 9, 11, 21])
def test_it_is_torchs_conv1d(kernel, time):
    x, towards = (torch.randn(time, size, dtype=torch.float64) for size in (6, 4))
    weight = torch.randn(4, 6, kernel, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64)
    wanted = with_gradients(torchs, x, weight, bias, towards=towards)
    found = with_gradients(toom_cook_convolution, x, weight, bias, towards=towards)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


def test_without_bias():
    x, weight = torch.randn(8, 6, dtype=torch.float64), torch.randn(4, 6, 3, dtype=torch.float64)
    towards = torch.randn(8, 4, dtype=torch.float64)
    wanted = with_gradients(lambda *a: torchs(*a, None), x, weight, towards=towards)
    found = with_gradients(lambda *a: toom_cook_convolution(*a, None), x, weight, towards=towards)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kernel, error", [(3, 1e-6), (9, 2.5e-6)])
def test_its_error_in_float32(kernel, error):
    """At the size of ming024's layers, where torch's own is wrong by 2.6e-7."""
    x, weight = torch.randn(500, 256), torch.randn(1024, 256, kernel) / 48
    bias, towards = torch.randn(1024), torch.randn(500, 1024)
    exact = with_gradients(
        torchs, x.double(), weight.double(), bias.double(), towards=towards.double()
    )
    found = with_gradients(toom_cook_convolution, x, weight, bias, towards=towards)
    for value, wanted in zip(found, exact, strict=True):
        assert (value - wanted).norm() <= error * wanted.norm()


@pytest.mark.parametrize("inputs, outputs", [(256, 512), (512, 256), (256, 80), (80, 256)])
@pytest.mark.parametrize("training", [True, False])
def test_layers_of_many_channels_give_torchs_conv1d(training, inputs, outputs):
    layer = TimeConv1d(inputs, outputs, 5).train(training)
    x, towards = torch.randn(40, inputs), torch.randn(40, outputs)
    wanted = with_gradients(torchs, x, layer.weight, layer.bias, towards=towards)
    rows = x.requires_grad_()
    y = layer(rows[None])[0]
    found = [y, *torch.autograd.grad(y, [rows, layer.weight, layer.bias], towards)]
    for value, exact in zip(found, wanted, strict=True):
        assert (value - exact).norm() <= 3e-6 * exact.norm()
