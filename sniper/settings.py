"""The settings of a `Sniper`, checked before anything is masked."""

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from sniper.masks import check_reachable, unreachable
from sniper.schedule import SparsitySchedule

LR_SCALINGS = ("per_tensor", "global", "none")
REGROWTHS = ("init", "zero")


def checked_settings(
    schedule: SparsitySchedule,
    optimizer: Optimizer,
    *,
    cap: float,
    redistribute: bool,
    allocation: str,
    compat: str | None,
    lr_scaling: str,
    max_lr_scale: float,
    regrowth: str,
) -> dict[str, Any]:
    """Return all settings in the form that checkpoints hold.

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
    if lr_scaling != "none" and isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("LBFGS has a single rate for a line search: use lr_scaling='none'")
    return {
        "schedule": schedule.milestones,
        "cap": cap,
        "redistribute": redistribute,
        "allocation": _one_of(allocation, "allocation", "global", "uniform", "erk"),
        "compat": compat,
        "lr_scaling": _one_of(lr_scaling, "lr_scaling", *LR_SCALINGS),
        "max_lr_scale": max_lr_scale,
        "regrowth": _one_of(regrowth, "regrowth", *REGROWTHS),
    }


def check_cap(settings: dict[str, Any], sparsities: Iterable[float], sizes: list[int]) -> None:
    """Raise ValueError unless tensors of these sizes reach all the sparsities under the cap."""
    highest, cap = max(sparsities), settings["cap"]
    if settings["allocation"] != "global":  # each tensor, or their average, has this sparsity
        if highest > cap:
            raise ValueError(unreachable(highest, cap, smallest=highest))
    elif settings["redistribute"] and settings["compat"] is None:
        check_reachable(sizes, highest, cap)


def _one_of(value: str, name: str, *options: str) -> str:
    if value not in options:
        raise ValueError(f"{name} is one of {', '.join(options)}, not {value!r}")
    return value
