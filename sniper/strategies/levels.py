"""Which weights are pruned at falling sparsities, as the settings of a `Sniper` have it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sniper.masks import mask_levels
from sniper.scores import Scores
from sniper.settings import SniperSettings
from sniper.strategies.patterns import pattern_levels


def levels_as_set(
    settings: SniperSettings, scores: Scores, sparsities: Sequence[float]
) -> dict[str, Tensor]:
    """Return at how many of the sparsities each weight is pruned, as `mask_levels` does."""
    if settings.return_order == "highest_first":
        return _levels(settings, scores, sparsities)
    # Prune the same weights at first, of which the lowest-scored return first.
    first = _levels(settings, scores, sparsities[:1])
    most = 1 + 2 * max(float(score.abs().max()) for score in scores.values() if score.numel())
    turned = {n: -s.double().masked_fill(first[n] == 0, -most) for n, s in scores.items()}
    return {n: level * (first[n] > 0) for n, level in _levels(settings, turned, sparsities).items()}


def _levels(
    settings: SniperSettings, scores: Scores, sparsities: Sequence[float]
) -> dict[str, Tensor]:
    of_masks = ("allocation", "cap", "min_density", "redistribute", "compat")
    plain: Any = partial(mask_levels, **{name: getattr(settings, name) for name in of_masks})
    if settings.pattern is not None:
        return pattern_levels(settings.pattern, plain, scores, sparsities)
    return plain(scores, sparsities)


def shuffled(scores: Scores, seed: int) -> Scores:
    """Shuffle the scores within each tensor, in the same way in every process."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: score.flatten()[torch.randperm(score.numel(), generator=generator).to(score.device)]
        .view(score.shape)
        for name, score in scores.items()
    }  # fmt: skip
