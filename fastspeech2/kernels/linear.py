"""Linear layers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fastspeech2.kernels import select

ROWS = 128
"""Pad the rows of bfloat16 matmuls on a CPU to a multiple of this."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`: `[..., inputs]` to `[..., outputs]`."""
    if select.use_padded_rows(x):
        return _linear_with_padded_rows(x, weight, bias)
    return F.linear(x, weight, bias)


def _linear_with_padded_rows(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same in bfloat16, with few different numbers of rows.

    oneDNN compiles a kernel for each matmul shape and keeps only a limited number of them. Batches
    of speech have hundreds of shapes, so compiling would take longer than multiplying.
    """
    rows = x.flatten(0, -2).to(torch.bfloat16)
    padded = F.pad(rows, (0, 0, 0, -len(rows) % ROWS))
    return F.linear(padded, weight, bias)[: len(rows)].unflatten(0, x.shape[:-1])
