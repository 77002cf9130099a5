"""The settings of a `Sniper`, checked before anything is masked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Number
from typing import Any

from sniper.masks import MinDensity, check_reachable, unreachable
from sniper.schedule import SparsitySchedule
from sniper.strategies.growth import Strategy
from sniper.strategies.patterns import check_sparsities

LR_SCALINGS = ("per_tensor", "global", "none")
REGROWTHS = ("init", "zero")
CHOICES = {
    "allocation": ("global", "uniform", "erk"),
    "lr_scaling": LR_SCALINGS,
    "regrowth": (*REGROWTHS, None),
    "pruned": ("zero", "frozen", "trained"),
    "return_order": ("highest_first", "highest_last"),
}
ONCE = ("lr_scaling", "max_lr_scale", "pruned", "shuffle_seed", "groups")
"""SniperSettings that groups cannot have for themselves."""


@dataclass(kw_only=True)
class SniperSettings:
    """How a `Sniper` prunes.

    Attributes:
        schedule: a schedule, or {update: sparsity}, or a constant sparsity.
        cap, min_density: as for `global_masks`.
        redistribute, compat: as for `global_masks`; only for the allocation `"global"`.
        allocation: `"global"`, or `"uniform"` or `"erk"` as for `layerwise_masks`.
        lr_scaling: multiplies the scheduler's rate by min(max_lr_scale, 1 / density).
            `"per_tensor"` takes each tensor's own density. `"global"` takes the density of all
            masked tensors together, for everything that the optimizer holds. `"none"` leaves rates
            alone. Scaled rates exist only inside `optimizer.step()`, so neither schedulers nor
            checkpoints see them.
        max_lr_scale: largest factor, 1 or more.
        regrowth: weights return at the values they have now (`"init"`) or at 0 (`"zero"`); by
            default as the strategy has it, or else `"init"`.
        pruned: pruned weights are 0 (`"zero"`), or stay at the values they have now (`"frozen"`),
            or are trained all the same (`"trained"`), so that the masks have no effect but the
            scaled learning rates.
        pattern: `"2:4"` keeps 2 of each 4 weights in a row, `"4x1"` prunes whole blocks; see
            `sniper.strategies.patterns`.
        return_order: of the masked weights, those of the highest scores return first
            (`"highest_first"`) or last (`"highest_last"`).
        shuffle_seed: shuffle the scores within each tensor, which keeps every tensor's share.
        strategy: moves masks between switches, such as `RigL`; see `sniper.strategies`.
        groups: `{"encoder.*": {"schedule": 0.8, "cap": 0.9}}` gives parameters of these names their
            own schedule, cap, min_density, allocation, redistribute, pattern, regrowth,
            return_order or strategy, and a threshold of scores of their own. The first pattern that
            matches a name counts.
    """

    schedule: Any
    cap: float = 1.0
    redistribute: bool = True
    allocation: str = "global"
    compat: str | None = None
    min_density: MinDensity = 0.0
    lr_scaling: str = "per_tensor"
    max_lr_scale: float = 4.0
    regrowth: str | None = None
    pruned: str = "zero"
    pattern: str | None = None
    return_order: str = "highest_first"
    shuffle_seed: int | None = None
    strategy: Strategy | None = None
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError if a setting is out of its range, or would be ignored or be wrong."""
        self.schedule = SparsitySchedule.of(self.schedule)
        if self.pattern is not None:
            check_sparsities(self.pattern, self.schedule.upcoming(0))
        for name, options in CHOICES.items():
            if getattr(self, name) not in options:
                known = ", ".join(filter(None, options))
                raise ValueError(f"{name} is one of {known}, not {getattr(self, name)!r}")
        for problem, is_there in (self._of_masks() | self._of_strategies()).items():
            if is_there:
                raise ValueError(problem)
        self.of_groups()

    def _of_masks(self) -> dict[str, bool]:
        """What cannot be right in the choice of masks, {message: whether it is the case}."""
        levels = self.schedule.upcoming(0)
        pattern, reference = self.pattern, self.compat is not None
        only_falls = all(then < now for now, then in pairwise(levels)) and len(levels) > 1
        by_tensor = self.allocation != "global"
        in_rows = pattern is not None and ":" in pattern
        last = self.return_order == "highest_last"
        return {
            f"cap is a fraction between 0 and 1, not {self.cap}": not 0 <= self.cap <= 1,
            f"compat is None or 'reference', not {self.compat!r}": (
                self.compat not in (None, "reference")
            ),
            f"compat and redistribute need allocation='global', not {self.allocation!r}": (
                by_tensor and (reference or not self.redistribute)
            ),
            "min_density would be ignored, as the paper's code has none": (
                reference and bool(self.min_density)
            ),
            f"the pattern {pattern} would not be kept by compat": pattern is not None and reference,
            f"the pattern {pattern} gives all tensors the same sparsity: leave allocation and "
            "min_density out": in_rows and (bool(self.min_density) or by_tensor),
            "return_order='highest_last' needs a schedule that falls and never rises": (
                last and not only_falls
            ),
            "return_order='highest_last' cannot be had with compat": last and reference,
        }

    def _of_strategies(self) -> dict[str, bool]:
        """What cannot be right in what happens to masked weights, as `_of_masks`."""
        levels = self.schedule.upcoming(0)
        zeroed, moves = self.pruned == "zero", self.strategy is not None
        kind = f"the strategy {type(self.strategy).__name__}"
        return {
            f"max_lr_scale is the largest factor, 1 or more, not {self.max_lr_scale}": (
                not self.max_lr_scale >= 1
            ),
            f"pruned={self.pruned!r} returns no weight at 0: use regrowth='init'": (
                not zeroed and self.returns_at == "zero"
            ),
            "pruned='trained' needs scaled rates, or it does nothing: use another lr_scaling": (
                self.pruned == "trained" and self.lr_scaling == "none"
            ),
            f"{kind} has no method masks(view), as sniper.strategies.Strategy has": (
                moves and not hasattr(self.strategy, "masks")
            ),
            f"{kind} moves masks under a sparsity that does not fall: use such a schedule": (
                moves and any(then < now for now, then in pairwise(levels))
            ),
            f"{kind} has nothing to move, as the schedule is dense": (
                moves and self.schedule.is_dense
            ),
            f"{kind} would not keep the pattern {self.pattern}": moves and self.pattern is not None,
            f"{kind} prunes to 0, so it cannot be had with pruned={self.pruned!r}": (
                moves and not zeroed
            ),
        }

    @property
    def returns_at(self) -> str:
        """`"init"` or `"zero"`: the setting `regrowth`, or what the strategy has."""
        return self.regrowth or getattr(self.strategy, "regrowth", "init")

    def of_groups(self) -> dict[str, "SniperSettings"]:
        """Return the settings of each group, which are its own or these, by its pattern."""
        if self.groups and isinstance(self.min_density, Mapping):
            raise ValueError("beside groups, min_density is a number: give it to each group")
        for pattern, own in self.groups.items():
            if once := [name for name in ONCE if name in own]:
                raise ValueError(
                    f"{once[0]} is the same for all groups, so {pattern} cannot have its own"
                )
        return {pattern: replace(self, groups={}, **own) for pattern, own in self.groups.items()}

    def check_cap(self, sizes: Mapping[str, int]) -> None:
        """Raise ValueError unless tensors of these sizes reach all the sparsities under the cap."""
        highest = max(self.schedule.upcoming(0))
        # Each tensor has this sparsity, or all of them on average.
        if ":" in (self.pattern or "") or self.allocation != "global":
            if highest > self.cap:
                raise ValueError(unreachable(highest, self.cap, smallest=highest))
        elif self.redistribute and self.compat is None:
            check_reachable(sizes, highest, self.cap, self.min_density)

    def saved(self) -> dict[str, Any]:
        """Return the settings in the form that checkpoints hold: numbers, strings and lists."""
        groups = {pattern: group.saved() for pattern, group in self.of_groups().items()}
        resolved = {"schedule": self.schedule.milestones, "regrowth": self.returns_at}
        return plain(vars(self) | resolved | {"groups": groups})


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
