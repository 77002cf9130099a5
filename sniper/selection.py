"""Selection of the lowest scores.

A histogram over the upper 16 bits of all scores finds those near the wanted ranks. Only these are
sorted, so that 10**8 scores take a few passes and little memory.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_CHUNK = 2**20


def kth_lowest(values: Tensor, count: int) -> float:
    """Return the count-th lowest value of a flat tensor; minus infinity for a count of 0."""
    if count == 0:
        return -math.inf
    return _thresholds([values], torch.tensor([count], device=values.device))[0].item()


def lowest(values: Tensor, count: int) -> Tensor:
    """Mark exactly the `count` lowest entries of a flat tensor; among equals, the first ones."""
    return levels_of([values], [count])[0] > 0


def level_dtype(levels: Sequence[Any]) -> torch.dtype:
    """Return the type of numbers up to the number of levels."""
    return torch.uint8 if len(levels) < 256 else torch.int32


def levels_of(parts: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
    """Return for how many of the counts each value is among that many lowest.

    Args:
        parts: flat tensors of one type, which are ranked together; among equals, the first come
            first.
    """
    dtype = level_dtype(counts)
    levels = [torch.zeros(part.shape, dtype=dtype, device=part.device) for part in parts]
    counts = sorted(count for count in counts if count)
    if not counts:
        return levels
    ranks = torch.tensor(counts, device=parts[0].device)
    thresholds, below = _thresholds(parts, ranks)

    def reaching(rank: Tensor) -> Tensor:
        """How many counts are above a rank, which begins at 0."""
        return (len(counts) - torch.searchsorted(ranks, rank, right=True)).to(dtype)

    thresholds, first = thresholds.unique_consecutive(return_inverse=True)
    below = torch.zeros_like(thresholds, dtype=torch.int64).scatter_(0, first, below)
    # A value that is no threshold itself ranks below the next one, so all counts that reach that
    # threshold include it.
    between = torch.cat([reaching(below), levels[0].new_zeros(1)])
    padded = torch.cat([thresholds, thresholds.new_tensor([math.nan])])
    for part, level in zip(parts, levels, strict=True):
        for values, out in zip(part.split(_CHUNK), level.split(_CHUNK), strict=True):
            place = torch.bucketize(values, thresholds)
            out.copy_(between[place])
            equal = (padded[place] == values).nonzero().squeeze(1)
            group, order = place[equal].sort(stable=True)
            before = torch.searchsorted(group, group)
            numbers = torch.arange(len(group), device=group.device)
            out[equal[order]] = reaching(below[group] + numbers - before)
            below += torch.bincount(group, minlength=len(below))  # now of the values that follow
    return levels


def _chunks(parts: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the values in pieces, and for each value its upper 16 bits, as numbers in its order."""
    for part in parts:
        for chunk in part.split(_CHUNK):
            bits = (chunk + 0.0).view(torch.int32 if chunk.element_size() == 4 else torch.int64)
            size = 8 * chunk.element_size()
            # The magnitude of negative floats counts backwards. `+ 0.0` has turned -0 into 0.
            ordered = bits ^ ((bits >> (size - 1)) & (2 ** (size - 1) - 1))
            yield chunk, (ordered >> (size - 16)) + 2**15


def _thresholds(parts: Sequence[Tensor], ranks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values of ranks, which rise from 1 or more, and how many values are below each."""
    sizes = sum(torch.bincount(bins, minlength=2**16) for _, bins in _chunks(parts))
    wanted = torch.searchsorted(sizes.cumsum(0), ranks)
    near = torch.zeros(2**16, dtype=torch.bool, device=sizes.device)
    near[wanted] = True
    values = torch.cat([chunk[near[bins]] for chunk, bins in _chunks(parts)]).sort().values
    skipped = (sizes * ~near).cumsum(0)[wanted]  # values below, in bins that are not near any rank
    thresholds = values[ranks - skipped - 1]
    return thresholds, torch.searchsorted(values, thresholds) + skipped
