"""Groups of parameters with their own schedules, caps and strategies."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.masks import Masks
from sniper.pruning import Pruning
from sniper.schedule import SparsitySchedule
from sniper.settings import check_cap
from sniper.strategies.kinds import pruning_of
from sniper.switch import Switch


class GroupedPruning:
    """Several prunings that stand for one: each of its methods is done by all of them."""

    def __init__(
        self,
        chain: Sequence[Optimizer],
        settings: Mapping[str, Any],
        schedule: SparsitySchedule,
        groups: Mapping[str, Mapping[str, Any]],
        strategy: Any,
    ) -> None:
        """
        Args:
            settings: as `checked_settings` returns them, for each group too.
            groups: as for `Sniper`.
        """
        self._settings = {**settings["groups"], "*": settings}
        self._all: dict[str, Pruning] = {}
        for pattern, own in {**groups, "*": {}}.items():
            kind = own.get("strategy", strategy)
            when = SparsitySchedule.of(own.get("schedule", schedule))
            self._all[pattern] = pruning_of(chain, self._settings[pattern], when, kind)
        self._parts: dict[str, Pruning] = {}

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All of them by name, in the order of the groups."""
        return self._merged(lambda part: part.parameters)

    @parameters.setter
    def parameters(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Each belongs to the first group whose pattern matches its name."""
        for part in self._all.values():
            part.parameters = {}
        for name, parameter in parameters.items():
            pattern = next(each for each in self._all if fnmatchcase(name, each))
            self._all[pattern].parameters[name] = parameter
        self._parts = {pattern: part for pattern, part in self._all.items() if part.parameters}
        if empty := [each for each in self._all if each != "*" and each not in self._parts]:
            raise ValueError(f"no scored parameter is left for the groups {', '.join(empty)}")
        for pattern, part in self._parts.items():
            sizes = {name: p.numel() for name, p in part.parameters.items()}
            check_cap(self._settings[pattern], part.schedule.upcoming(0), sizes)

    def _merged(self, of: Callable[[Pruning], Mapping[str, Any]]) -> dict[str, Any]:
        return {name: value for part in self._parts.values() for name, value in of(part).items()}

    @property
    def keep(self) -> dict[str, Tensor]:
        """The bit masks of the groups that are sparse now."""
        return self._merged(lambda part: part.keep)

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}."""
        return self._merged(lambda part: part.masks)

    def pruned_counts(self) -> dict[str, int]:
        """{parameter name: number of pruned weights}."""
        return self._merged(lambda part: part.pruned_counts())

    def recorded(self, switch: Switch) -> Switch:
        """Return what is recorded of a switch, which is the same for all groups."""
        return next(iter(self._parts.values())).recorded(switch)

    def sparsity(self, update: int) -> float:
        """The nominal sparsity of all groups together."""
        sizes = {k: sum(p.numel() for p in v.parameters.values()) for k, v in self._parts.items()}
        nominal = sum(sizes[k] * part.sparsity(update) for k, part in self._parts.items())
        return nominal / max(1, sum(sizes.values()))

    def upcoming(self, update: int) -> list[float]:
        """The sparsities of all groups from an update on."""
        return [each for part in self._parts.values() for each in part.upcoming(update)]

    def switch(self, update: int) -> bool:
        """Follow all schedules right after an update; return whether a sparsity has changed."""
        return any([part.switch(update) for part in self._parts.values()])

    def on_gradient(self, name: str, *gradient: Tensor) -> None:
        """Zero the gradient of pruned weights."""
        self._of(name).on_gradient(name, *gradient)

    def zero_gradient(self, name: str) -> None:
        """Zero the gradient of pruned weights."""
        self._of(name).zero_gradient(name)

    def _of(self, name: str) -> Pruning:
        return next(part for part in self._parts.values() if name in part.parameters)

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return a function that calls the method of this name of each group."""
        if name not in _FOR_ALL:
            raise AttributeError(name)
        return lambda *args: [getattr(part, name)(*args) for part in self._parts.values()]

    def state_dict(self) -> dict[str, Any]:
        """The state of each group."""
        return {"groups": {pattern: part.state_dict() for pattern, part in self._parts.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over `state_dict()`."""
        for pattern, part in self._parts.items():
            part.load_state_dict(state["groups"][pattern] | {"update": state["update"]})


_FOR_ALL = ("prune_first", "undo_first", "forget_undo", "zero_gradients", "zero_weights",
            "zero_states", "warn_of_changes")  # fmt: skip
