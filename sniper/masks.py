"""Masks from scores: which weights are pruned at a given sparsity.

A mask is a bool tensor, True where the weight is kept. Within one set of scores the masks are
nested: a weight pruned at some sparsity is pruned at every higher one, because weights are always
taken in one fixed order, by score, then by parameter, then by position.
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
    """Prune the `int(sparsity * N)` lowest of all N scores together.

    Args:
        scores: {parameter name: tensor of the parameter's shape}; a higher score is kept longer.
        sparsity: fraction of all the scored weights to prune.
        cap: fraction of any single tensor that may be pruned.
        redistribute: take from other tensors what the cap gives back, so that exactly
            `int(sparsity * N)` weights are pruned. Without it the result falls short of that,
            as in the paper.
        compat: `"reference"` thresholds as the code of the paper (iamanigeeit/sniper) does: scores
            strictly above the k-th smallest are kept, so ties over-prune, and a tensor over the cap
            is thresholded again within itself, at one weight more than the cap allows. Where that
            leaves nothing, that code keeps a random choice, so such masks need not be nested.

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
    # Only the lowest `cap` of each tensor may go, whatever the sparsity: this keeps masks nested.
    flat = [score.flatten() for score in scores.values()]
    may_go = torch.cat([_lowest(values, int(cap * len(values))) for values in flat])
    ranking = torch.cat(flat)
    if redistribute:
        ranking[~may_go] = math.inf
    pruned = (_lowest(ranking, int(sparsity * len(ranking))) & may_go).split(sizes)
    return {n: ~part.view(scores[n].shape) for n, part in zip(scores, pruned, strict=True)}


def layerwise_masks(
    scores: Mapping[str, Tensor], sparsity: float, allocation: str = "uniform", cap: float = 1.0
) -> Masks:
    """Prune the lowest `int(s * n)` scores within each tensor of n weights.

    Args:
        allocation: `"uniform"` gives every tensor the same s; `"erk"` (Erdős–Rényi kernel, Evci et
            al. 2020, arXiv 1911.11134) makes its density proportional to the sum of its dimensions
            over their product, limited to 1 - cap ... 1, for the same overall sparsity.
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
    """Fraction of all the masks' weights that is pruned; 0 without masks."""
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
    """What an error says of a sparsity above what the cap allows."""
    return (
        f"sparsity {sparsity:g} cannot be reached under a cap of {cap:g} per tensor; "
        f"the smallest cap that works is {smallest:g}"
    )


def _check(scores: Mapping[str, Tensor], sparsity: float, cap: float) -> None:
    for what, value in {"sparsity": sparsity, "cap": cap}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{what} is a fraction between 0 and 1, not {value}")
    require_finite(scores)


def _kth_lowest(values: Tensor, count: int) -> float:
    return values.kthvalue(count).values.item() if count else -math.inf


def _lowest(values: Tensor, count: int) -> Tensor:
    """Bool tensor, True at exactly `count` lowest of a flat tensor; of equals, the first go."""
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
        enough = sum(pruned(middle)) <= sparsity * sum(sizes)
        low, high = (low, middle) if enough else (middle, high)
    return [
        min(int(count + 1e-6), int(cap * size))
        for count, size in zip(pruned(high), sizes, strict=True)
    ]


def _reference_masks(scores: Mapping[str, Tensor], sparsity: float, cap: float) -> Masks:
    everything = torch.cat([score.flatten() for score in scores.values()])
    threshold = _kth_lowest(everything, int(sparsity * everything.numel()))
    masks = {}
    for name, score in scores.items():
        mask, size, room = score > threshold, score.numel(), int(cap * score.numel())
        if 1 - int(mask.sum()) / size > cap:
            mask = score > _kth_lowest(score.flatten(), room + 1)
            if not mask.any():
                kept = [False] * room + [True] * (size - room)
                random.Random(0).shuffle(kept)
                mask = torch.tensor(kept, device=score.device).view(score.shape)
        masks[name] = mask
    return masks
