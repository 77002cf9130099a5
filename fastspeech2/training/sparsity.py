"""Sparsity schedules of the paper and of ablations, for any start and length of training."""

from collections.abc import Callable
from numbers import Real

from omegaconf import DictConfig
from torch import nn

from pipeline.errors import RecipeError
from pipeline.settings import chosen
from sniper import SparsitySchedule, prunable_parameters
from sniper.masks import check_reachable


def decaying_levels(
    start: float, updates: int, lowest: float = 0.1, first_switch: float = 0.0125
) -> dict[int, float]:
    """`{update: sparsity}`, with the sparsity halved at each switch and zero at the last.

    The update of a switch is twice that of the switch before. At 40,000 updates, starts of 0.4 and
    0.2 give the paper's schedules {0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0} and {0: 0.2, 500: 0.1,
    1000: 0} (arXiv 2211.07283, whose epochs have 100 updates).

    Args:
        start: initial sparsity, a fraction.
        updates: optimizer updates of the whole training.
        lowest: smallest sparsity before zero, a fraction.
        first_switch: the first switch as a fraction of `updates`.

    Raises:
        RecipeError: the training is too short for these switches.
    """
    levels = [start]
    # The tolerance lets 0.4 reach 0.1 despite rounding.
    while levels[-1] / 2 >= lowest - 1e-9:
        levels.append(levels[-1] / 2)
    switches = [round(first_switch * updates * 2**i) for i in range(len(levels))]
    schedule = dict(zip([0, *switches], [*levels, 0.0], strict=True))
    if len(schedule) <= len(levels) or switches[0] == 0 or switches[-1] >= updates:
        raise RecipeError(
            f"a training of {updates} updates is too short for the sparsity levels {levels} with "
            f"the first switch after {first_switch:.2%} of it: change sparsity.first_switch or "
            "raise trainer.updates"
        )
    return schedule


def _constant(config: DictConfig, updates: int) -> SparsitySchedule:
    return SparsitySchedule.constant(_fraction(config, "start"))


def _decaying(config: DictConfig, updates: int) -> SparsitySchedule:
    start = _fraction(config, "start")
    return SparsitySchedule.steps(
        decaying_levels(start, updates, config.lowest, config.first_switch)
    )


def _rising(config: DictConfig, updates: int) -> SparsitySchedule:
    """The levels of `decaying` in reverse order at the same updates, from dense to `end`."""
    end = _fraction(config, "end")
    decaying = decaying_levels(end, updates, config.lowest, config.first_switch)
    return SparsitySchedule.steps(dict(zip(decaying, reversed(decaying.values()), strict=True)))


def _gradual(config: DictConfig, updates: int) -> SparsitySchedule:
    """Dense until `begin`, then a cubic up to `end` (Zhu and Gupta 2017, arXiv 1710.01878)."""
    begin, finish = round(config.begin * updates), round(config.finish * updates)
    if not 0 <= begin < finish <= updates:
        raise RecipeError(
            f"sparsity.begin ({config.begin}) and sparsity.finish ({config.finish}) have to be "
            "fractions of the training, and the first has to come before the second"
        )
    return SparsitySchedule.cubic(0.0, _fraction(config, "end"), finish - begin, begin=begin)


def _fraction(config: DictConfig, name: str) -> float:
    if not (isinstance(config[name], Real) and 0.0 < config[name] < 1.0):
        raise RecipeError(f"sparsity.{name}={config[name]}: give a fraction between 0 and 1")
    return config[name]


KINDS: dict[str, Callable[[DictConfig, int], SparsitySchedule]] = {
    "dense": lambda config, updates: SparsitySchedule.constant(0.0),
    "constant": _constant,
    "decaying": _decaying,
    "rising": _rising,
    "gradual": _gradual,
}


def sparsity_schedule(config: DictConfig, updates: int) -> SparsitySchedule:
    """The schedule of a conf/sparsity/ node over `updates` optimizer updates."""
    return chosen("sparsity.kind", config.kind, KINDS)(config, updates)


def require_reachable(config: DictConfig, schedule: SparsitySchedule, model: nn.Module) -> None:
    """Raise RecipeError if the cap of a conf/sparsity/ node is too low for its schedule."""
    if schedule.is_dense:
        return
    if not 0.0 < config.cap <= 1.0:
        raise RecipeError(f"sparsity.cap={config.cap}: give a fraction above 0 and up to 1")
    sizes = [parameter.numel() for parameter in prunable_parameters(model).values()]
    try:
        check_reachable(sizes, max(schedule.upcoming(0)), config.cap)
    except ValueError as error:
        raise RecipeError(f"sparsity.cap: {error}") from error
