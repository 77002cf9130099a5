"""The kind of pruning that the settings of a `Sniper` ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from sniper.pruning import Pruning
from sniper.schedule import SparsitySchedule
from sniper.strategies.controls import FrozenPruning, UnmaskedPruning
from sniper.strategies.growth import Strategy
from sniper.strategies.moving import MovingPruning

PRUNED = {"zero": Pruning, "frozen": FrozenPruning, "trained": UnmaskedPruning}


def pruning_of(
    chain: Sequence[Optimizer],
    settings: Mapping[str, Any],
    schedule: SparsitySchedule,
    strategy: Strategy | None,
) -> Pruning:
    """Return the pruning of a `Sniper`; `settings` are as `checked_settings` returns them."""
    if strategy is not None:
        return MovingPruning(chain, settings, schedule, strategy)
    return PRUNED[settings["pruned"]](chain, settings, schedule)
