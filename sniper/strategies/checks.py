"""Refusals of settings that cannot be right together."""

from collections.abc import Mapping
from typing import Any

from sniper.schedule import SparsitySchedule
from sniper.strategies.patterns import check_sparsities

ORDERS = ("highest_first", "highest_last")


def check_controls(settings: Mapping[str, Any], schedule: SparsitySchedule) -> None:
    """Check the settings that go beyond the paper's, beside each other and the schedule.

    Args:
        settings: the arguments of `Sniper`, by name.

    Raises:
        ValueError: a setting cannot be right beside another, or would be ignored.
    """
    levels = schedule.upcoming(0)
    rises = len(schedule.until_rise(0)) < len(levels)
    falls = any(then < now for now, then in zip(levels, levels[1:], strict=False))
    pruned, pattern, strategy = (settings[n] for n in ("pruned", "pattern", "strategy"))
    if pattern is not None:
        check_sparsities(pattern, levels)
    in_rows = pattern is not None and ":" in pattern
    kind = f"the strategy {type(strategy).__name__}"
    moves = strategy is not None
    last = settings["return_order"] == "highest_last"
    reference = settings["compat"] is not None
    refusals = {
        f"pruned={pruned!r} returns no weight at 0: use regrowth='init'": pruned != "zero"
        and settings["regrowth"] == "zero",
        "pruned='trained' needs scaled rates, or it does nothing: use another lr_scaling": (
            pruned == "trained" and settings["lr_scaling"] == "none"
        ),
        f"the pattern {pattern} would not be kept by compat": pattern is not None and reference,
        f"the pattern {pattern} gives all tensors the same sparsity: leave allocation and "
        "min_density out": in_rows and bool(settings["min_density"])
        or in_rows and settings["allocation"] != "global",
        "return_order='highest_last' needs a schedule that falls and never rises": last
        and (rises or not falls),
        "return_order='highest_last' cannot be had with compat": last and reference,
        f"{kind} has no method masks(view), as sniper.strategies.Strategy has": moves
        and not hasattr(strategy, "masks"),
        f"{kind} moves masks under a sparsity that does not fall: use such a schedule": moves
        and falls,
        f"{kind} has nothing to move, as the schedule is dense": moves and schedule.is_dense,
        f"{kind} would not keep the pattern {pattern}": moves and pattern is not None,
        f"{kind} prunes to 0, so it cannot be had with pruned={pruned!r}": moves
        and pruned != "zero",
    }  # fmt: skip
    for message, refused in refusals.items():
        if refused:
            raise ValueError(message)
