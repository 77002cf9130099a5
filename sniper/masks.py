"""Masks from scores: which weights are pruned at a given sparsity.

A mask is a bool tensor, True where the weight is kept. Weights are always pruned in the same order:
by score, then by parameter, then by position. So the masks of one set of scores are nested: a
weight that is pruned at some sparsity is pruned at every higher one too.
"""

import math
import random
from collections.abc import Mapping

import torch
from torch import Tensor

from sniper.scores import require_finite

Masks = dict[str, Tensor]


def global_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    cap: float = 1.0,
    redistribute: bool = True,
    compat: str | None = None,
) -> Masks:
    """Prune the `int(sparsity * N)` lowest of all N scores.

    Args:
        scores: {parameter name: tensor of the parameter's shape}; the lowest are pruned first.
        sparsity: the fraction of all scored weights to prune.
        cap: the largest fraction of any single tensor that may be pruned.
        redistribute: if the cap protects weights of one tensor, prune as many more in others, so
            that exactly `int(sparsity * N)` weights are pruned. Without it fewer are pruned, as in
            the paper.
        compat: `"reference"` reproduces the code of the paper (iamanigeeit/sniper). It keeps scores
            strictly above the k-th smallest, so ties over-prune. A tensor over the cap is
            thresholded again by itself, with one weight more than the cap allows. If that leaves
            nothing, it keeps a random choice, so such masks need not be nested.

    Returns:
        {parameter name: bool tensor of its shape, True = kept}.

    Raises:
        ValueError: a score is not finite, a fraction is outside 0 to 1, or the sparsity cannot be
            reached under the cap; the message names the smallest cap that works.
    """
    _check(scores, sparsity, cap)
    if compat == "reference":
        return _reference_masks(scores, sparsity, cap)
    if compat is not None:
        raise ValueError(f"compat is None or 'reference', not {compat!r}")
    sizes = [score.numel() for score in scores.values()]
    if redistribute:
        check_reachable(sizes, sparsity, cap)
    # At any sparsity, only the lowest `cap` of each tensor may be pruned. This keeps masks nested.
    flat = [score.flatten() for score in scores.values()]
    prunable = torch.cat([_lowest(values, int(cap * len(values))) for values in flat])
    ranking = torch.cat(flat)
    if redistribute:
        ranking[~prunable] = math.inf
    pruned = (_lowest(ranking, int(sparsity * len(ranking))) & prunable).split(sizes)
    return {n: ~part.view(scores[n].shape) for n, part in zip(scores, pruned, strict=True)}


def layerwise_masks(
    scores: Mapping[str, Tensor], sparsity: float, allocation: str = "uniform", cap: float = 1.0
) -> Masks:
    """Prune the lowest `int(s * n)` scores within each tensor of n weights.

    Args:
        allocation: `"uniform"` gives every tensor the same s. `"erk"` (Erdős–Rényi kernel, Evci et
            al. 2020, arXiv 1911.11134) makes each tensor's density proportional to the sum of its
            dimensions divided by their product, limited to between 1 - cap and 1, at the same
            overall sparsity.
        scores, sparsity, cap: as for `global_masks`.

    Raises:
        ValueError: as for `global_masks`.
    """
    _check(scores, sparsity, cap)
    if sparsity > cap:
        raise ValueError(unreachable(sparsity, cap, smallest=sparsity))
    if allocation == "uniform":
        counts = [int(sparsity * score.numel()) for score in scores.values()]
    elif allocation == "erk":
        counts = _erk_counts([score.shape for score in scores.values()], sparsity, cap)
    else:
        raise ValueError(f"allocation is 'uniform' or 'erk', not {allocation!r}")
    return {
        name: ~_lowest(score.flatten(), count).view(score.shape)
        for (name, score), count in zip(scores.items(), counts, strict=True)
    }


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """Return the fraction of all weights that the masks prune; 0 if there are no masks."""
    total = sum(mask.numel() for mask in masks.values())
    return sum(int((~mask).sum()) for mask in masks.values()) / max(1, total)


def check_reachable(sizes: list[int], sparsity: float, cap: float) -> None:
    """Raise ValueError unless tensors of these sizes can reach the sparsity under the cap."""

    def reachable(cap: float) -> bool:
        return sum(int(cap * size) for size in sizes) >= int(sparsity * sum(sizes))

    if not reachable(cap):
        smallest = next(c for c in (i / 10_000 for i in range(10_001)) if reachable(c))
        raise ValueError(unreachable(sparsity, cap, smallest))


def unreachable(sparsity: float, cap: float, smallest: float) -> str:
    """Return the error message for a sparsity that the cap does not allow."""
    return (
        f"sparsity {sparsity:g} cannot be reached under a cap of {cap:g} per tensor; "
        f"the smallest cap that works is {smallest:g}"
    )


def _check(scores: Mapping[str, Tensor], sparsity: float, cap: float) -> None:
    for name, value in {"sparsity": sparsity, "cap": cap}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a fraction between 0 and 1, not {value}")
    require_finite(scores)


def _kth_lowest(values: Tensor, count: int) -> float:
    return values.kthvalue(count).values.item() if count else -math.inf


def _lowest(values: Tensor, count: int) -> Tensor:
    """Mark exactly the `count` lowest entries of a flat tensor; among equals, the first ones."""
    threshold = _kth_lowest(values, count)
    chosen = values < threshold
    ties = (values == threshold).nonzero().squeeze(1)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen


def _erk_counts(shapes: list[torch.Size], sparsity: float, cap: float) -> list[int]:
    sizes = [math.prod(shape) for shape in shapes]
    raw = [sum(shape) / size for shape, size in zip(shapes, sizes, strict=True)]

    def pruned(factor: float) -> list[float]:
        densities = (min(1.0, max(1 - cap, factor * value)) for value in raw)
        return [(1 - d) * size for d, size in zip(densities, sizes, strict=True)]

    low, high = 0.0, 1 / min(raw)
    for _ in range(100):  # bisection: a higher factor prunes less
        middle = (low + high) / 2
        prunes_too_much = sum(pruned(middle)) > sparsity * sum(sizes)
        low, high = (middle, high) if prunes_too_much else (low, middle)
    return [
        min(int(count + 1e-6), int(cap * size))
        for count, size in zip(pruned(high), sizes, strict=True)
    ]


def _reference_masks(scores: Mapping[str, Tensor], sparsity: float, cap: float) -> Masks:
    everything = torch.cat([score.flatten() for score in scores.values()])
    threshold = _kth_lowest(everything, int(sparsity * everything.numel()))
    masks = {}
    for name, score in scores.items():
        mask, size, limit = score > threshold, score.numel(), int(cap * score.numel())
        if 1 - int(mask.sum()) / size > cap:
            mask = score > _kth_lowest(score.flatten(), limit + 1)
            if not mask.any():
                kept = [False] * limit + [True] * (size - limit)
                random.Random(0).shuffle(kept)
                mask = torch.tensor(kept, device=score.device).view(score.shape)
        masks[name] = mask
    return masks
