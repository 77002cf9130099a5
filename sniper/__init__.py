"""Sparse training of any torch module, with any optimizer, in an ordinary training loop.

SNIPER (arXiv 2211.07283) starts training with a part of the weights masked out, and lets them
return at their initial values during training. `recipes/digits/` is a complete small example.
"""

from sniper.computed import mask_computed_weights
from sniper.export import compact, expand, imported_masks, make_permanent, to_sparse
from sniper.flops import Flops, count_flops
from sniper.integrations.plots import plot
from sniper.masks import global_masks, layerwise_masks, sparsity_of
from sniper.optimizers import register_optimizer
from sniper.prunable import prunable_parameters
from sniper.schedule import SparsitySchedule
from sniper.score_files import fingerprint, load_scores, save_scores
from sniper.scores import (
    grasp_scores,
    magnitude_scores,
    random_scores,
    snip_scores,
    synflow_scores,
)
from sniper.sniper import Sniper
from sniper.strategies import SET, RigL
from sniper.switch import Switch

__all__ = [
    "Flops",
    "compact",
    "count_flops",
    "expand",
    "imported_masks",
    "make_permanent",
    "plot",
    "to_sparse",
    "SET",
    "RigL",
    "Sniper",
    "SparsitySchedule",
    "Switch",
    "fingerprint",
    "global_masks",
    "grasp_scores",
    "layerwise_masks",
    "load_scores",
    "magnitude_scores",
    "mask_computed_weights",
    "prunable_parameters",
    "random_scores",
    "register_optimizer",
    "save_scores",
    "snip_scores",
    "sparsity_of",
    "synflow_scores",
]
