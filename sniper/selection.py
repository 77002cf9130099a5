"""Selection of the lowest scores."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def kth_lowest(values: Tensor, count: int) -> float:
    """Return the count-th lowest value of a flat tensor; minus infinity for a count of 0."""
    if count == 0:
        return -math.inf
    if values.numel() > 2**22 and values.is_cpu and values.dtype == torch.float32:
        values, count = _narrowed(values, count)
    return values.kthvalue(count).values.item()


def _narrowed(values: Tensor, count: int) -> tuple[Tensor, int]:
    """Return the values near the count-th lowest, and how many of them are not above it.

    A histogram over the upper 16 bits of all values finds them, faster than `kthvalue` does.
    """

    def bins(chunk: Tensor) -> Tensor:
        bits = chunk.view(torch.int32)
        # Integers in the order of the floats: the magnitude of negative ones counts backwards.
        return ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> 16) + 2**15

    chunks = values.split(2**20)
    below = sum(torch.bincount(bins(chunk), minlength=2**16) for chunk in chunks).cumsum(0)
    wanted = int(torch.searchsorted(below, count))
    near = torch.cat([chunk[bins(chunk) == wanted] for chunk in chunks])
    return near, count - (int(below[wanted - 1]) if wanted else 0)


def lowest(values: Tensor, count: int) -> Tensor:
    """Mark exactly the `count` lowest entries of a flat tensor; among equals, the first ones."""
    threshold = kth_lowest(values, count)
    chosen = values < threshold
    ties = (values == threshold).nonzero().squeeze(1)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen


def level_dtype(levels: Sequence[Any]) -> torch.dtype:
    return torch.uint8 if len(levels) < 256 else torch.int32


def levels_of(values: Tensor, counts: Sequence[int], pruned: Tensor | None = None) -> Tensor:
    """Return for how many of the counts, which fall, each value is among that many lowest.

    Args:
        pruned: `lowest(values, counts[0])`, if it is known.
    """
    dtype = level_dtype(counts)
    pruned = lowest(values, counts[0]) if pruned is None else pruned
    levels = pruned.to(dtype)
    if len(counts) > 1 and counts[0]:
        order = values[pruned].argsort(stable=True)
        # From the lowest value on: those below the last count are pruned at all sparsities.
        of_sorted = torch.empty(counts[0], dtype=dtype, device=values.device)
        for i, (lower, upper) in enumerate(zip([*counts[1:], 0], counts, strict=True), start=1):
            of_sorted[lower:upper] = i
        levels[pruned] = torch.empty_like(of_sorted).index_copy_(0, order, of_sorted)
    return levels
