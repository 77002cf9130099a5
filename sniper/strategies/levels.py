"""Which weights are pruned at falling sparsities, as the settings of a `Sniper` have it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sniper.masks import global_levels, layerwise_levels
from sniper.scores import Scores
from sniper.strategies.patterns import pattern_levels

Levels = Callable[[Scores, Sequence[float]], dict[str, Tensor]]


def level_function(settings: Mapping[str, Any]) -> Levels:
    """Return a function like `global_levels` of scores and sparsities.

    Args:
        settings: as `checked_settings` returns them.
    """
    by_layer = settings["allocation"] != "global"
    names = ("allocation",) if by_layer else ("redistribute", "compat")
    levels = partial(
        layerwise_levels if by_layer else global_levels,
        **{name: settings[name] for name in ("cap", "min_density", *names)},
    )
    if settings["pattern"] is not None:
        levels = partial(pattern_levels, settings["pattern"], levels)
    return partial(_lowest_first, levels) if settings["return_order"] == "highest_last" else levels


def _lowest_first(levels: Levels, scores: Scores, sparsities: Sequence[float]) -> dict[str, Tensor]:
    """Prune the same weights at first, of which the lowest-scored return first."""
    pruned = {name: level > 0 for name, level in levels(scores, sparsities[:1]).items()}
    most = 1 + 2 * max(float(score.abs().max()) for score in scores.values() if score.numel())
    turned = {n: -score.double().masked_fill(~pruned[n], -most) for n, score in scores.items()}
    return {name: level * pruned[name] for name, level in levels(turned, sparsities).items()}


def shuffled(scores: Scores, seed: int) -> Scores:
    """Shuffle the scores within each tensor, in the same way in every process."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: score.flatten()[torch.randperm(score.numel(), generator=generator).to(score.device)]
        .view(score.shape)
        for name, score in scores.items()
    }  # fmt: skip
