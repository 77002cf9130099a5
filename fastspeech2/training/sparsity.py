"""Sparsity schedules of the paper and of ablations, for any start and length of training."""

from typing import Any

from torch import nn

from fastspeech2.settings import SparseSettings, Sparsity
from pipeline.errors import RecipeError
from pipeline.settings import WrongSettings, checked
from sniper import SET, RigL, SparsitySchedule, prunable_parameters
from sniper.settings import SniperSettings
from sniper.strategies import Strategy
from sniper.strategies.patterns import check_shapes

PATTERNS = ("include", "exclude")
SAME_FOR_ALL = ("lr_scaling", "max_lr_scale", "pruned", "shuffle", "scoring_batches", "groups")
"""Settings that a group of parameters cannot have for itself."""


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
    - `alternating`: dense and sparse phases in turn (AC/DC, Peste et al. 2021, arXiv 2106.12379).
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
        case "alternating":
            phase, until = round(config.phase * updates), round(config.until * updates)
            try:
                return SparsitySchedule.alternating(config.end, phase, until)
            except ValueError as error:
                raise RecipeError(f"sparsity.phase and sparsity.until: {error}") from error
    return SparsitySchedule.constant(0.0)


def mask_settings(config: Sparsity, updates: int, seed: int) -> dict[str, Any]:
    """The keyword arguments of `Sniper` that a conf/sparsity/ node chooses.

    Args:
        updates: of the whole training.
        seed: of the run, for what is random.
    """
    if config.kind == "dense":
        return {}
    own = {
        f"model.{pattern}": {"schedule": sparsity_schedule(group, updates)}
        | {
            name: value
            for name, value in mask_settings(group, updates, seed).items()
            if name not in ("shuffle_seed", *SAME_FOR_ALL)
        }
        for pattern, group in group_settings(config).items()
    }
    return {
        "min_density": config.min_density,
        "pattern": config.pattern,
        "groups": own,
        "strategy": _strategy(config, updates, seed),
        "pruned": config.pruned,
        "shuffle_seed": seed if config.shuffle else None,
        "return_order": config.return_order,
        "cap": config.cap,
        "redistribute": config.redistribute,
        "allocation": config.allocation,
        "compat": config.code,
        "lr_scaling": config.lr_scaling,
        "max_lr_scale": config.max_lr_scale,
        "regrowth": config.regrowth,
    }


def group_settings(config: Sparsity) -> dict[str, Sparsity]:
    """The settings of each group, which are its own or else those of the whole.

    Raises:
        RecipeError: a group has settings that are unknown, not allowed or the same for all.
    """
    found = {}
    for group in config.groups:
        same = group.get("kind", config.kind) == config.kind
        inherited = type(config).model_fields if same else SparseSettings.model_fields
        whole = {name: value for name, value in config.plain().items() if name in inherited}
        whole |= {"kind": config.kind, "groups": []}
        own = {name: value for name, value in group.items() if name != "parameters"}
        if not group.get("parameters") or own.keys() & SAME_FOR_ALL:
            raise RecipeError(
                f"sparsity.groups: {group} needs parameters, a pattern of their names, and cannot "
                f"have {', '.join(SAME_FOR_ALL)}, which are the same for all"
            )
        try:
            found[group["parameters"]] = checked(Sparsity, whole | own)
        except WrongSettings as error:
            raise RecipeError(f"sparsity.groups: {error}") from error
    return found


def _strategy(config: Sparsity, updates: int, seed: int) -> Strategy | None:
    moving = {
        "every": config.move_every,
        "until": max(1, round(config.move_until * updates)),
        "drop": config.drop,
    }
    match config.strategy:
        case "rigl":
            return RigL(**moving)
        case "set":
            return SET(**moving, seed=seed)
    return None


def prunable_selection(config: Sparsity) -> dict[str, Any]:
    """The keyword arguments of `prunable_parameters` for the Lightning module of a model."""
    if config.kind == "dense":
        return {}
    patterns = {name: [f"model.{each}" for each in getattr(config, name)] for name in PATTERNS}
    return patterns | {"compat": config.code}


def require_reachable(
    config: Sparsity, schedule: SparsitySchedule, module: nn.Module, updates: int = 1000
) -> None:
    """Raise RecipeError if a cap is too low for its schedule, or masks cannot be as configured.

    Args:
        config: a node of conf/sparsity/.
        schedule: its schedule.
        module: the model in its Lightning module.
        updates: of the whole training.
    """
    if schedule.is_dense:
        return
    try:
        prunable = prunable_parameters(module, **prunable_selection(config))
    except ValueError as error:
        raise RecipeError(f"sparsity.include or sparsity.exclude: {error}") from error
    try:
        settings = SniperSettings(schedule=schedule, **mask_settings(config, updates, seed=0))
        if config.pattern:
            check_shapes(config.pattern, {name: p.shape for name, p in prunable.items()})
    except ValueError as error:
        raise RecipeError(f"sparsity: {error}") from error
    if config.groups:
        return  # these are checked when masks are made
    try:
        sizes = {name: parameter.numel() for name, parameter in prunable.items()}
        settings.check_cap(sizes)
    except ValueError as error:
        raise RecipeError(f"sparsity.cap: {error}") from error
