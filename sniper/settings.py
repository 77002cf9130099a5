"""The settings of a `Sniper`, checked before anything is masked."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Number
from types import MappingProxyType
from typing import Any

from torch.optim import Optimizer

from sniper.masks import MinDensity, check_reachable, unreachable
from sniper.optimizers import check_rates
from sniper.schedule import SparsitySchedule
from sniper.strategies.checks import ORDERS, check_controls
from sniper.strategies.growth import Strategy
from sniper.strategies.kinds import PRUNED

LR_SCALINGS = ("per_tensor", "global", "none")
REGROWTHS = ("init", "zero")


def checked_settings(
    schedule: SparsitySchedule,
    optimizer: Optimizer | None = None,
    *,
    cap: float = 1.0,
    redistribute: bool = True,
    allocation: str = "global",
    compat: str | None = None,
    min_density: MinDensity = 0.0,
    lr_scaling: str = "per_tensor",
    max_lr_scale: float = 4.0,
    regrowth: str | None = None,
    pruned: str = "zero",
    pattern: str | None = None,
    return_order: str = "highest_first",
    shuffle_seed: int | None = None,
    strategy: Strategy | None = None,
    groups: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return all settings in the form that checkpoints hold: plain numbers, strings and lists.

    Raises:
        ValueError: a setting is unknown, out of its range, or would be ignored beside another.
    """
    if not 0 <= cap <= 1:
        raise ValueError(f"cap is a fraction between 0 and 1, not {cap}")
    if not max_lr_scale >= 1:
        raise ValueError(f"max_lr_scale is the largest factor, 1 or more, not {max_lr_scale}")
    if compat not in (None, "reference"):
        raise ValueError(f"compat is None or 'reference', not {compat!r}")
    if allocation != "global" and (compat is not None or not redistribute):
        raise ValueError(f"compat and redistribute need allocation='global', not {allocation!r}")
    if compat is not None and min_density:
        raise ValueError("min_density would be ignored, as the paper's code has none")
    _check_choice("allocation", allocation, ("global", "uniform", "erk"))
    _check_choice("lr_scaling", lr_scaling, LR_SCALINGS)
    given, regrowth = regrowth, regrowth or getattr(strategy, "regrowth", "init")
    _check_choice("regrowth", regrowth, REGROWTHS)
    _check_choice("pruned", pruned, PRUNED)
    _check_choice("return_order", return_order, ORDERS)
    settings = {
        "cap": cap,
        "redistribute": redistribute,
        "allocation": allocation,
        "compat": compat,
        "min_density": min_density,
        "lr_scaling": lr_scaling,
        "max_lr_scale": max_lr_scale,
        "regrowth": regrowth,
        "pruned": pruned,
        "pattern": pattern,
        "return_order": return_order,
        "shuffle_seed": shuffle_seed,
        "strategy": strategy,
    }
    check_controls(settings, schedule)
    if optimizer is not None:
        check_rates(optimizer, lr_scaling)
    inherited = {"schedule": schedule} | settings | {"regrowth": given}
    own = {pattern: _checked_group(pattern, inherited, group) for pattern, group in groups.items()}
    return plain({"schedule": schedule.milestones} | settings | {"groups": own})


def _checked_group(
    pattern: str, settings: Mapping[str, Any], group: Mapping[str, Any]
) -> dict[str, Any]:
    """Check the settings of a group, which are its own or those of the `Sniper`."""
    for name in ("lr_scaling", "max_lr_scale", "pruned", "shuffle_seed", "groups"):
        if name in group:
            raise ValueError(f"{name} is the same for all groups, so {pattern} cannot have its own")
    if isinstance(settings["min_density"], Mapping):
        raise ValueError("beside groups, min_density is a number: give it to each group by itself")
    own = {**settings, **group}
    return checked_settings(SparsitySchedule.of(own.pop("schedule")), **own)


def check_cap(
    settings: Mapping[str, Any], sparsities: Sequence[float], sizes: Mapping[str, int]
) -> None:
    """Raise ValueError unless tensors of these sizes reach all the sparsities under the cap."""
    highest, cap = max(sparsities), settings["cap"]
    in_rows = ":" in (settings["pattern"] or "")
    # Each tensor has this sparsity, or all of them on average.
    if in_rows or settings["allocation"] != "global":
        if highest > cap:
            raise ValueError(unreachable(highest, cap, smallest=highest))
    elif settings["redistribute"] and settings["compat"] is None:
        check_reachable(sizes, highest, cap, settings["min_density"])


def plain(value: Any) -> Any:
    """Return a value with numbers, lists and dicts of plain types, as JSON would hold them."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Strategy):
        return {"kind": type(value).__name__} | plain(vars(value))
    if isinstance(value, Number) and hasattr(value, "item"):  # a number of numpy
        return value.item()
    return value


def _check_choice(name: str, value: str, options: Collection[str]) -> None:
    if value not in options:
        raise ValueError(f"{name} is one of {', '.join(options)}, not {value!r}")
