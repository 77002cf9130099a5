"""Dropout."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fastspeech2.kernels import select


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """`F.dropout`."""
    if not training or p == 0.0:
        return x
    if select.use_drawn_bits(x):
        return _dropout_by_bits(x, p)
    return F.dropout(x, p)


def _dropout_by_bits(x: Tensor, p: float) -> Tensor:
    """The same with sixteen random bits for each value, at a third of the cost on a CPU.

    The probability is therefore rounded to a multiple of 2^-16.
    """
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(p * 2**16) - 2**15
    return x * kept.to(x.dtype).mul_(1 / (1 - p))
