"""Toom-Cook convolution against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from fastspeech2.kernels import convolution, select
from fastspeech2.kernels.toom_cook import toom_cook_convolution
from fastspeech2.model.layers import TimeConv1d
from sniper import grasp_scores


def torchs(x, weight, bias):
    """`F.conv1d` of rows `[time, inputs]`."""
    return F.conv1d(x.T[None], weight, bias, padding=weight.shape[2] // 2)[0].T


def with_gradients(convolution, *tensors, towards):
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    y = convolution(*tensors)
    return [y, *torch.autograd.grad(y, tensors, towards)]


@pytest.mark.parametrize("time", [1, 2, 3, 9, 10, 40])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9, 11, 15])
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
    """At the size of ming024's layers, where the error of PyTorch's own is 2.6e-7."""
    x, weight = torch.randn(500, 256), torch.randn(1024, 256, kernel) / 48
    bias, towards = torch.randn(1024), torch.randn(500, 1024)
    exact = with_gradients(
        torchs, x.double(), weight.double(), bias.double(), towards=towards.double()
    )
    found = with_gradients(toom_cook_convolution, x, weight, bias, towards=towards)
    for value, wanted in zip(found, exact, strict=True):
        assert (value - wanted).norm() <= error * wanted.norm()


@pytest.mark.parametrize("kernel", [3, 9, 11])
def test_gradients_and_their_gradients(kernel):
    tensors = [
        torch.randn(size, dtype=torch.float64, requires_grad=True)
        for size in ((11, 2), (3, 2, kernel), (3,))
    ]
    assert torch.autograd.gradcheck(toom_cook_convolution, tensors)
    assert torch.autograd.gradgradcheck(toom_cook_convolution, tensors)


@pytest.mark.parametrize("needed", [(True, False, False), (False, True, True)])
def test_gradients_of_some_alone(needed):
    """Gradients of a frozen layer, and of a layer whose input needs none."""
    tensors = [torch.randn(size) for size in ((11, 2), (3, 2, 9), (3,))]
    for tensor, need in zip(tensors, needed, strict=True):
        tensor.requires_grad_(need)
    sought = [tensor for tensor in tensors if tensor.requires_grad]
    towards = torch.randn(11, 3)
    wanted = torch.autograd.grad(torchs(*tensors), sought, towards)
    found = torch.autograd.grad(toom_cook_convolution(*tensors), sought, towards)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.fixture
def calls(monkeypatch):
    """Records the shapes of the weights of each call."""
    shapes = []

    def recorded(x, weight, bias):
        shapes.append(tuple(weight.shape))
        return toom_cook_convolution(x, weight, bias)

    monkeypatch.setattr(convolution, "toom_cook_convolution", recorded)
    return shapes


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs, outputs", [(256, 512), (512, 256)])
def test_training_wide_layers_in_float32_uses_it(calls, inputs, outputs, bias):
    layer = TimeConv1d(inputs, outputs, 5, bias=bias)
    x = torch.randn(40, inputs)
    expected = torchs(x, layer.weight, layer.bias)
    found = layer(x[None])[0].relu_()  # the next layer may work in place
    assert calls == [(outputs, inputs, 5)]
    assert (found - expected.relu()).norm() <= 3e-6 * expected.norm()


@pytest.mark.parametrize(
    ("inputs", "kernel", "training", "kind", "batch"),
    [
        (80, 5, True, torch.float32, 1),
        (256, 17, True, torch.float32, 1),
        (256, 5, False, torch.float32, 1),
        (256, 5, True, torch.bfloat16, 1),
        (256, 5, True, torch.float64, 1),
        (256, 5, True, torch.float32, 2),
    ],
)
def test_nothing_else_does(calls, inputs, kernel, training, kind, batch):
    layer = TimeConv1d(inputs, 256, kernel).train(training)
    x = torch.randn(batch, 40, inputs)
    wanted = torch.stack([torchs(each, layer.weight, layer.bias) for each in x])
    found = layer.to(kind)(x.to(kind))
    assert not calls
    assert (found - wanted).norm() <= (1e-2 if kind == torch.bfloat16 else 2e-6) * wanted.norm()


@pytest.mark.parametrize(
    "kernel, tiles, used", [(9, False, True), (5, False, False), (9, True, False)]
)
def test_autocast_uses_it_for_long_kernels_without_amx(calls, monkeypatch, kernel, tiles, used):
    monkeypatch.setattr(select, "multiplies_tiles", lambda: tiles)
    layer = TimeConv1d(256, 256, kernel)
    x = torch.randn(40, 256, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x[None])[0]
    assert found.dtype == torch.bfloat16
    assert bool(calls) == used
    wanted = torchs(x, layer.weight, layer.bias)
    towards = torch.randn(40, 256)
    tensors = [found, *torch.autograd.grad(found, (x, *layer.parameters()), towards.bfloat16())]
    expected = [wanted, *torch.autograd.grad(wanted, (x, *layer.parameters()), towards)]
    for value, exact in zip(tensors, expected, strict=True):
        assert (value - exact).norm() <= 1e-2 * exact.norm()


def test_grasp_scores_wide_layers_as_others(calls, monkeypatch):
    """GraSP needs gradients of gradients through the convolution."""
    model = torch.nn.Sequential(TimeConv1d(256, 256, 9), torch.nn.Tanh(), TimeConv1d(256, 256, 3))
    batches = [torch.randn(1, 30, 256) for _ in range(2)]

    def scores():
        return grasp_scores(model, lambda model, batch: model(batch).square().mean(), batches)

    found = scores()
    assert calls
    monkeypatch.setattr(select, "WIDE", 257)
    for name, wanted in scores().items():
        assert (found[name] - wanted).norm() <= 1e-4 * wanted.norm()
