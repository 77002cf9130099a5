"""Sparsity schedules of the paper and of ablations, for any start and length of training."""

from typing import Any

from torch import nn

from fastspeech2.settings import Sparsity
from pipeline.errors import RecipeError
from sniper import SparsitySchedule, prunable_parameters
from sniper.settings import check_cap, checked_settings

PATTERNS = ("include", "exclude")


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


def sparsity_schedule(config: Sparsity, updates: int) -> SparsitySchedule:
    """The schedule of a conf/sparsity/ node over `updates` optimizer updates.

    - `rising`: the levels of `decaying` in reverse order at the same updates, from dense to `end`.
    - `gradual`: dense until `begin`, then a cubic up to `end` (Zhu and Gupta 2017, arXiv
      1710.01878).
    """
    match config.kind:
        case "constant":
            return SparsitySchedule.constant(config.start)
        case "decaying":
            levels = decaying_levels(config.start, updates, config.lowest, config.first_switch)
            return SparsitySchedule.steps(levels)
        case "rising":
            falling = decaying_levels(config.end, updates, config.lowest, config.first_switch)
            levels = dict(zip(falling, reversed(falling.values()), strict=True))
            return SparsitySchedule.steps(levels)
        case "gradual":
            begin, finish = round(config.begin * updates), round(config.finish * updates)
            if begin == finish:
                raise RecipeError("sparsity.begin and sparsity.finish are the same update")
            return SparsitySchedule.cubic(0.0, config.end, finish - begin, begin=begin)
    return SparsitySchedule.constant(0.0)


def mask_settings(config: Sparsity) -> dict[str, Any]:
    """The keyword arguments of `Sniper` that a conf/sparsity/ node chooses."""
    if config.kind == "dense":
        return {}
    return {
        "cap": config.cap,
        "redistribute": config.redistribute,
        "allocation": config.allocation,
        "compat": config.code,
        "lr_scaling": config.lr_scaling,
        "max_lr_scale": config.max_lr_scale,
        "regrowth": config.regrowth,
    }


def prunable_selection(config: Sparsity) -> dict[str, Any]:
    """The keyword arguments of `prunable_parameters` for the Lightning module of a model."""
    if config.kind == "dense":
        return {}
    patterns = {name: [f"model.{each}" for each in getattr(config, name)] for name in PATTERNS}
    return patterns | {"compat": config.code}


def require_reachable(config: Sparsity, schedule: SparsitySchedule, module: nn.Module) -> None:
    """Raise RecipeError if a cap is too low for its schedule, or nothing matches a pattern.

    Args:
        config: a node of conf/sparsity/.
        schedule: its schedule.
        module: the model in its Lightning module.
    """
    if schedule.is_dense:
        return
    try:
        prunable = prunable_parameters(module, **prunable_selection(config))
    except ValueError as error:
        raise RecipeError(f"sparsity.include or sparsity.exclude: {error}") from error
    try:
        sizes = {name: parameter.numel() for name, parameter in prunable.items()}
        check_cap(checked_settings(schedule, **mask_settings(config)), schedule.upcoming(0), sizes)
    except ValueError as error:
        raise RecipeError(f"sparsity.cap: {error}") from error
