"""Multi-head attention of padded sequences."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fastspeech2.kernels import select
from fastspeech2.kernels.dropout import dropout

LARGE = 256
"""Steps from which the matmuls follow autocast to bfloat16."""


def attention(rows: Tensor, heads: int, mask: Tensor, p: float) -> Tensor:
    """Attention within each sequence.

    Args:
        rows: queries, keys and values side by side, `[sequences, steps, 3 · channels]`.
        heads: number of heads.
        mask: `[sequences, steps]`, True inside each sequence.
        p: dropout probability of the attention weights.

    Returns:
        `[sequences, steps, channels]`.
    """
    # One copy here saves a copy in each of the products.
    by_head = rows.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
    if select.use_two_matmuls(rows):
        context = _attention_by_matmuls(by_head, mask, p)
    else:
        query, key, value = by_head.unbind()
        context = F.scaled_dot_product_attention(query, key, value, mask[:, None, None, :], p)
    return context.transpose(1, 2).flatten(2)


def _attention_by_matmuls(by_head: Tensor, mask: Tensor, p: float) -> Tensor:
    """The same as two matmuls, which beat PyTorch's masked attention on a CPU.

    Short sequences stay in float32, so that oneDNN need not compile a bfloat16 kernel for each of
    their many lengths (see `linear`).
    """
    large = by_head.shape[3] >= LARGE
    query, key, value = by_head if large else by_head.float()
    with torch.autocast("cpu", enabled=large and select.bfloat16_on_cpu(by_head)):
        scores = query / math.sqrt(query.shape[3]) @ key.transpose(2, 3)
        scores = scores.masked_fill_(~mask[:, None, None, :], -torch.inf)
        return dropout(scores.softmax(-1), p, training=True) @ value
