"""Convolution over time with "same" padding."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from fastspeech2.kernels import select
from fastspeech2.kernels.linear import linear
from fastspeech2.kernels.toom_cook import LONGEST, toom_cook_convolution


def time_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, training: bool) -> Tensor:
    """`F.conv1d` over `[batch, time, inputs]`, which gives `[batch, time, outputs]`.

    Args:
        weight: `[outputs, inputs, kernel]`, the kernel odd.
        bias: `[outputs]`.
        training: whether results may differ by rounding with what lies beside an utterance.
    """
    kernel = weight.shape[2]
    if kernel == 1:
        return linear(x, weight.squeeze(2), bias)
    if select.use_toom_cook(x, weight, LONGEST, training):
        return _convolution_by_toom_cook(x, weight, bias)
    if select.use_neighbours(x):
        return _convolution_of_neighbours(x, weight, bias)
    return F.conv1d(x.transpose(1, 2), weight, bias, padding=kernel // 2).transpose(1, 2)


def _convolution_by_toom_cook(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same with fewer products, in float32 even under autocast."""
    kind = torch.bfloat16 if select.bfloat16_on_cpu(x) else x.dtype
    with torch.autocast("cpu", enabled=False):
        return toom_cook_convolution(x.squeeze(0).float(), weight, bias)[None].to(kind)


def _convolution_of_neighbours(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same as one matmul, each frame beside its neighbours.

    oneDNN is slow at the gradient of a kernel over one long sequence.
    """
    x = x.to(torch.bfloat16) if select.bfloat16_on_cpu(x) else x
    rows = neighbours(x, weight.shape[2])
    return linear(rows, weight.transpose(1, 2).flatten(1), bias)


def neighbours(x: Tensor, kernel: int) -> Tensor:
    """`[batch, time, channels]` to `[batch, time, kernel · channels]`, zeros beyond the ends."""
    return _Neighbours.apply(x, kernel) if torch.is_grad_enabled() else _neighbours(x, kernel)


def _neighbours(x: Tensor, kernel: int) -> Tensor:
    time = x.shape[1]
    x = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    return torch.cat([x[:, i : i + time] for i in range(kernel)], 2)


class _Neighbours(Function):
    """Sums the gradients of all neighbours in place; autograd would allocate one for each."""

    @staticmethod
    def forward(context, x: Tensor, kernel: int) -> Tensor:
        context.kernel = kernel
        return _neighbours(x, kernel)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        batch, time, _ = gradient.shape
        parts = gradient.unflatten(2, (context.kernel, -1))
        total = gradient.new_zeros(batch, time + context.kernel - 1, parts.shape[3])
        for i in range(context.kernel):
            total[:, i : i + time] += parts[:, :, i]
        return total[:, context.kernel // 2 :][:, :time], None
