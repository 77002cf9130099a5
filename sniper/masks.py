"""Masks from scores: which weights are pruned at a given sparsity.

A mask is a bool tensor, True where the weight is kept. Weights are always pruned in the same order:
by score, then by parameter, then by position. So the masks of one set of scores are nested: a
weight that is pruned at some sparsity is pruned at every higher one too. All masks of a schedule
therefore fit into one tensor of levels, which says at how many of its sparsities each weight is
pruned.
"""

import math
import random
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from sniper.scores import require_finite
from sniper.selection import kth_lowest, level_dtype, levels_of, lowest

Masks = dict[str, Tensor]
MinDensity = float | Mapping[str, float]


def global_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    cap: float = 1.0,
    redistribute: bool = True,
    compat: str | None = None,
    min_density: MinDensity = 0.0,
) -> Masks:
    """Prune the lowest `sparsity * N` of all N scores, rounded down.

    Args:
        scores: {parameter name: tensor of the parameter's shape}; the lowest are pruned first.
        sparsity: the fraction of all scored weights to prune.
        cap: the largest fraction of any single tensor that may be pruned.
        redistribute: if the cap protects weights of one tensor, prune as many more in others, so
            that the sparsity is reached. Without it fewer are pruned, as in the paper.
        compat: `"reference"` reproduces the code of the paper (iamanigeeit/sniper). It keeps scores
            strictly above the k-th smallest, so ties over-prune. A tensor over the cap is
            thresholded again by itself, with one weight more than the cap allows. If that leaves
            nothing, it keeps a random choice, so such masks need not be nested.
        min_density: the smallest fraction of a tensor to keep, for all tensors or as {glob over
            parameter names: fraction}.

    Returns:
        {parameter name: bool tensor of its shape, True = kept}.

    Raises:
        ValueError: a score is not finite, a fraction is outside 0 to 1, or the sparsity cannot be
            reached under the cap; the message names the smallest cap that works.
    """
    more = {"redistribute": redistribute, "compat": compat}
    found = mask_levels(scores, [sparsity], cap=cap, min_density=min_density, **more)
    return {name: level == 0 for name, level in found.items()}


def layerwise_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    allocation: str = "uniform",
    cap: float = 1.0,
    min_density: MinDensity = 0.0,
) -> Masks:
    """Prune the lowest `s * n` scores within each tensor of n weights, rounded down.

    Args:
        allocation: `"uniform"` gives every tensor the same s. `"erk"` (Erdős–Rényi kernel, Evci et
            al. 2020, arXiv 1911.11134) makes each tensor's density proportional to the sum of its
            dimensions divided by their product, limited to between 1 - cap and 1, at the same
            overall sparsity.
        min_density: as for `global_masks`; here it lowers the sparsity of the tensors it protects.
        scores, sparsity, cap: as for `global_masks`.

    Raises:
        ValueError: as for `global_masks`.
    """
    if allocation not in ("uniform", "erk"):
        raise ValueError(f"allocation is 'uniform' or 'erk', not {allocation!r}")
    found = mask_levels(scores, [sparsity], allocation, cap=cap, min_density=min_density)
    return {name: level == 0 for name, level in found.items()}


def mask_levels(
    scores: Mapping[str, Tensor],
    sparsities: Sequence[float],
    allocation: str = "global",
    *,
    cap: float = 1.0,
    min_density: MinDensity = 0.0,
    redistribute: bool = True,
    compat: str | None = None,
) -> dict[str, Tensor]:
    """Return at how many of the sparsities each weight is pruned, {parameter name: integers}.

    Args:
        sparsities: in falling order.
        allocation: `"global"`, or as for `layerwise_masks`.
        scores, cap, min_density, redistribute, compat: as for `global_masks`.

    Raises:
        ValueError: as for `global_masks`.
    """
    scores = _checked(scores, sparsities, cap)
    shapes = {name: score.shape for name, score in scores.items()}
    if compat == "reference":
        masks = [_reference_masks(scores, sparsity, cap) for sparsity in sparsities]
        dtype = level_dtype(sparsities)
        return {name: sum((~mask[name]).to(dtype) for mask in masks) for name in scores}
    if compat is not None:
        raise ValueError(f"compat is None or 'reference', not {compat!r}")
    sizes = {name: score.numel() for name, score in scores.items()}
    limits = list(prunable_counts(sizes, cap, min_density).values())
    parts = [score.flatten() for score in scores.values()]
    if allocation == "global":
        if redistribute:
            check_reachable(sizes, sparsities[0], cap, min_density)
        found = _global_levels(parts, sparsities, limits, redistribute)
    elif sparsities[0] > cap:
        raise ValueError(unreachable(sparsities[0], cap, smallest=sparsities[0]))
    else:
        counts = [_counts_by_tensor(shapes, s, allocation, cap) for s in sparsities]
        found = [
            levels_of([part], [min(count[i], limits[i]) for count in counts])[0]
            for i, part in enumerate(parts)
        ]
    return {name: level.view(shapes[name]) for name, level in zip(scores, found, strict=True)}


def _global_levels(
    parts: list[Tensor], sparsities: Sequence[float], limits: Sequence[int], redistribute: bool
) -> list[Tensor]:
    """Rank all weights together; of each tensor, at most `limits` are pruned."""
    counts = [count_of(sparsity, sum(map(len, parts))) for sparsity in sparsities]
    found = levels_of(parts, counts)
    # At any sparsity, only the lowest of each tensor up to its limit may be pruned. This keeps
    # masks nested.
    while over := [i for i, limit in enumerate(limits) if int((found[i] > 0).sum()) > limit]:
        for i in over:
            allowed = lowest(parts[i], limits[i])
            if redistribute:
                parts[i] = parts[i].masked_fill(~allowed, math.inf)
            else:
                found[i] *= allowed
        if redistribute:
            found = levels_of(parts, counts)
    return found


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """Return the fraction of all weights that the masks prune; 0 if there are no masks."""
    total = sum(mask.numel() for mask in masks.values())
    return sum(int((~mask).sum()) for mask in masks.values()) / max(1, total)


def count_of(fraction: float, total: int) -> int:
    """Return `fraction * total`, rounded down, but 57 for 0.57 of 100, where floats make 56.99….

    A part in 2**46 is more than the rounding errors of a few operations on floats.
    """
    return min(total, int(fraction * total * (1 + 2**-46)))


def prunable_counts(
    sizes: Mapping[str, int], cap: float, min_density: MinDensity
) -> dict[str, int]:
    """Return how many weights of each tensor may be pruned.

    Raises:
        ValueError: a minimum density is outside 0 to 1, or its pattern matches no name.
    """
    floors = min_density if isinstance(min_density, Mapping) else {"*": min_density}
    limits = {name: count_of(cap, size) for name, size in sizes.items()}
    for pattern, density in floors.items():
        if not 0 <= density <= 1:
            raise ValueError(f"min_density is a fraction between 0 and 1, not {density}")
        matching = [name for name in sizes if fnmatchcase(name, pattern)]
        if not matching:
            raise ValueError(f"the pattern {pattern!r} of min_density matches no scored parameter")
        for name in matching:
            limits[name] = min(limits[name], count_of(1 - density, sizes[name]))
    return limits


def check_reachable(
    sizes: Mapping[str, int] | Sequence[int],
    sparsity: float,
    cap: float,
    min_density: MinDensity = 0.0,
) -> None:
    """Raise ValueError unless tensors of these sizes can reach the sparsity under the cap."""
    if not isinstance(sizes, Mapping):
        sizes = {str(i): size for i, size in enumerate(sizes)}
    total = sum(sizes.values())

    def reachable(cap: float) -> bool:
        limits = prunable_counts(sizes, cap, min_density)
        return sum(limits.values()) >= count_of(sparsity, total)

    if reachable(cap):
        return
    smallest = next((c for c in (i / 10_000 for i in range(10_001)) if reachable(c)), None)
    if smallest is None:
        raise ValueError(f"sparsity {sparsity:g} cannot be reached with this min_density")
    raise ValueError(unreachable(sparsity, cap, smallest))


def unreachable(sparsity: float, cap: float, smallest: float) -> str:
    """Return the error message for a sparsity that the cap does not allow."""
    return (
        f"sparsity {sparsity:g} cannot be reached under a cap of {cap:g} per tensor; "
        f"the smallest cap that works is {smallest:g}"
    )


def _checked(
    scores: Mapping[str, Tensor], sparsities: Sequence[float], cap: float
) -> dict[str, Tensor]:
    """Return the scores as floats, after checks."""
    for name, values in {"sparsity": sparsities, "cap": [cap]}.items():
        for value in values:
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is a fraction between 0 and 1, not {value}")
    require_finite(scores)
    single = all(s.dtype in (torch.float16, torch.bfloat16, torch.float32) for s in scores.values())
    return {n: s.float() if single else s.double() for n, s in scores.items()}


def _counts_by_tensor(
    shapes: Mapping[str, torch.Size], sparsity: float, allocation: str, cap: float
) -> list[int]:
    sizes = [math.prod(shape) for shape in shapes.values()]
    if allocation == "uniform":
        return [count_of(sparsity, size) for size in sizes]
    raw = [sum(shape) / size for shape, size in zip(shapes.values(), sizes, strict=True)]

    def pruned(factor: float) -> list[float]:
        densities = (min(1.0, max(1 - cap, factor * value)) for value in raw)
        return [(1 - d) * size for d, size in zip(densities, sizes, strict=True)]

    low, high = 0.0, 1 / min(raw)
    for _ in range(100):  # bisection: a higher factor prunes less
        middle = (low + high) / 2
        prunes_too_much = sum(pruned(middle)) > sparsity * sum(sizes)
        low, high = (middle, high) if prunes_too_much else (low, middle)
    return [
        min(int(count + 1e-6), count_of(cap, size))
        for count, size in zip(pruned(high), sizes, strict=True)
    ]


def _reference_masks(scores: Mapping[str, Tensor], sparsity: float, cap: float) -> Masks:
    everything = torch.cat([score.flatten() for score in scores.values()])
    threshold = kth_lowest(everything, int(sparsity * everything.numel()))
    masks = {}
    for name, score in scores.items():
        mask, size, limit = score > threshold, score.numel(), int(cap * score.numel())
        if 1 - int(mask.sum()) / size > cap:
            mask = score > kth_lowest(score.flatten(), limit + 1)
            if not mask.any():
                kept = [False] * limit + [True] * (size - limit)
                random.Random(0).shuffle(kept)
                mask = torch.tensor(kept, device=score.device).view(score.shape)
        masks[name] = mask
    return masks
