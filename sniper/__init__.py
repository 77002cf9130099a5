"""Sparse training of any torch module, with any optimizer, at no measurable cost.

SNIPER (arXiv 2211.07283) starts training with most weights masked out and lets them return,
at their initial values, while it goes on. See `recipes/digits/` for a complete small example.
"""

from sniper.fingerprint import fingerprint, load_scores, save_scores
from sniper.masks import global_masks, layerwise_masks, sparsity_of
from sniper.prunable import prunable_parameters
from sniper.schedule import SparsitySchedule
from sniper.scores import (
    grasp_scores,
    magnitude_scores,
    random_scores,
    snip_scores,
    synflow_scores,
)
from sniper.sniper import Sniper

__all__ = [
    "Sniper",
    "SparsitySchedule",
    "fingerprint",
    "global_masks",
    "grasp_scores",
    "layerwise_masks",
    "load_scores",
    "magnitude_scores",
    "prunable_parameters",
    "random_scores",
    "save_scores",
    "snip_scores",
    "sparsity_of",
    "synflow_scores",
]
