"""Learning rates that are scaled inside an optimizer's step and nowhere else."""

import warnings
from collections.abc import Mapping
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.switch import Switch

Group = dict[str, Any]


class ScaledRates:
    """Scales the rates of single parameters, unseen by schedulers, checkpoints and closures.

    Between `apply` and `restore`, a group whose parameters have different rates is replaced by
    one group for each rate. These parts of a group last from step to step, with all that an
    optimizer keeps in them, such as counters and sums of rates.

    Attributes:
        lr_scaling: `"per_tensor"`, `"global"` or `"none"`, as for `Sniper`.
    """

    def __init__(
        self, optimizer: Optimizer, innermost: Optimizer, lr_scaling: str, max_lr_scale: float
    ) -> None:
        """
        Args:
            innermost: the optimizer that makes the updates, wrapped by `optimizer` or the same.
        """
        self.lr_scaling = lr_scaling
        self._limit = max_lr_scale
        self._outer, self._optimizer = optimizer, innermost
        self._scales: dict[int, float] = {}  # by id of the parameter
        self._default = 1.0  # for parameters that _scales leaves out
        self._scales_global = 1.0
        self._own: list[Group] | None = None  # the optimizer's own groups, while scaled
        self._splits: list[_Split] = []
        # Values of groups that differ between parts, by id of the parameter; one dict for a part.
        self._kept: dict[int, Group] = {}
        self._verified = False

    def follow(self, switch: Switch, parameters: Mapping[str, nn.Parameter]) -> None:
        """Set the factors that follow from a sparsity: 1 / density, up to the limit."""

        def scale(sparsity: float) -> float:
            return min(self._limit, 1 / (1 - sparsity)) if sparsity < 1 else self._limit

        self._forget_splits()
        self._scales_global = scale(switch.achieved)
        self._scales, self._default = {}, 1.0
        if self.lr_scaling == "global":
            self._default = self._scales_global
        elif self.lr_scaling == "per_tensor" and switch.achieved:
            self._scales = {id(parameters[name]): scale(s) for name, s in switch.tensors.items()}

    def in_force(self) -> dict[int, float]:
        """{id of a parameter: learning rate} for everything that the optimizer holds."""
        return {
            id(p): float(group["lr"]) * self._scales.get(id(p), self._default)
            for group in self._own or self._outer.param_groups
            for p in group["params"]
            if group.get("lr") is not None
        }

    def apply(self) -> None:
        """Scale the rates, right before the update."""
        if self._own is not None or not (self._scales or self._default != 1.0):
            return
        self._own = own = self._optimizer.param_groups
        if len(own) != len(self._splits) or not all(map(_Split.stands_for, self._splits, own)):
            self._forget_splits()
            self._splits = [self._split(group) for group in own]
        groups = [part for split in self._splits for part in split.enter()]
        if len(groups) > len(own):
            self._optimizer.param_groups = groups

    def restore(self, after_update: bool = False, failed: bool = False) -> None:
        """Bring the optimizer's own groups back, right after the update or before others look.

        Args:
            failed: the step has ended by an exception.
        """
        if self._own is None:
            return
        if failed and not self._verified and len(self._optimizer.param_groups) > len(self._own):
            warnings.warn(
                f"{type(self._optimizer).__name__} has failed in its first step with groups that "
                "are split by rate: if it does not fail otherwise, use lr_scaling='global'",
                stacklevel=2,
            )
        for split in self._splits:
            split.leave()
        self._optimizer.param_groups, self._own = self._own, None
        if after_update and not self._verified:
            self._verify()

    def _split(self, group: Group) -> "_Split":
        """Split a group by rate, and by the values that differ between its parameters."""
        lead = self._kept.get(id(group["params"][0]), {}) if group["params"] else {}
        # Someone has set these values since, such as a scheduler.
        for key in [key for key, value in lead.items() if not _same(group.get(key), value)]:
            for p in group["params"]:
                self._kept.get(id(p), {}).pop(key, None)
        members: dict[tuple[float, int], list[Tensor]] = {}
        for p in group["params"]:
            key = self._scales.get(id(p), self._default), id(self._kept.get(id(p)) or None)
            members.setdefault(key, []).append(p)
        if len(members) < 2:  # the same object, to which others may refer
            return _Split(group, [group], [scale for scale, _ in members] or [1.0])
        parts = []
        for params in members.values():
            part = dict(group) if self._verified else _Watched(group)
            values = group | self._kept.get(id(params[0]), {})
            part.update({key: _copied(value) for key, value in values.items()}, params=params)
            parts.append(part)
        return _Split(group, parts, [scale for scale, _ in members])

    def _forget_splits(self) -> None:
        """Forget the parts, but for the values that differ between those of a group."""
        for split in self._splits:
            for part in split.parts:
                values = split.own_values(part)
                self._kept |= {id(p): values for p in dict.get(part, "params")}
        self._kept = {p: values for p, values in self._kept.items() if values}
        self._splits = []

    def _verify(self) -> None:
        """At the first update with split groups, look whether the optimizer has read them all."""
        watched = [p for split in self._splits for p in split.parts if isinstance(p, _Watched)]
        if not watched:
            return
        self._verified = True
        active = [each for each in watched if any(p.grad is not None for p in each["params"])]
        name = type(self._optimizer).__name__
        if not any("lr" in each.read for each in active):
            self._fall_back("none", f"{name} does not read the rates of its parameter groups")
        elif not all({"lr", "params"} <= each.read for each in active):
            self._fall_back("global", f"{name} does not use every one of its parameter groups")
        self._forget_splits()

    def _fall_back(self, lr_scaling: str, reason: str) -> None:
        self.lr_scaling, self._scales = lr_scaling, {}
        self._default = self._scales_global if lr_scaling == "global" else 1.0
        warnings.warn(
            f"{reason}, so that rates could not be scaled for each tensor in this update; from now "
            f"on lr_scaling is {lr_scaling!r}: choose it from the start",
            stacklevel=2,
        )

    def state_dict(self, names: Mapping[int, str]) -> dict[str, Any]:
        """What the optimizer's own checkpoint lacks: values of its groups that differ by part."""
        self._forget_splits()
        kept = {id(values): values for values in self._kept.values() if values}
        return {
            "lr_scaling": self.lr_scaling,
            "verified": self._verified,
            "kept": [
                {
                    "parameters": [names[p] for p, v in self._kept.items() if v is values],
                    "values": dict(values),
                }
                for values in kept.values()
            ],
        }

    def load_state_dict(
        self, state: Mapping[str, Any], parameters: Mapping[str, nn.Parameter]
    ) -> None:
        """Take over `state_dict()`."""
        self._splits, self._kept = [], {}
        self.lr_scaling, self._verified = state["lr_scaling"], state["verified"]
        for each in state["kept"]:
            values = dict(each["values"])
            self._kept |= {id(parameters[name]): values for name in each["parameters"]}


class _Split:
    """A group of an optimizer, and the parts that stand for it inside a step."""

    def __init__(self, group: Group, parts: list[Group], scales: list[float]) -> None:
        """
        Args:
            parts: `[group]` itself if all its parameters have the same rate.
            scales: the factor of each part's rate.
        """
        self.group, self.parts, self._scales = group, parts, scales
        self._params = list(group["params"])
        self._rate, self._rates = group["lr"], []  # of the group, and those given to the parts
        self._remember_shown()

    def stands_for(self, group: Group) -> bool:
        """Whether this is the split of a group as it is now."""
        params = group["params"]
        same = group is self.group and len(params) == len(self._params)
        return same and all(map(is_, params, self._params))

    def enter(self) -> list[Group]:
        """Return the parts with scaled rates, and with what others have set in the group."""
        if self.parts[0] is not self.group:
            for key in self._set_by_others():
                for part in self.parts:
                    part[key] = _copied(self.group[key])
        self._rate = self.group["lr"]
        self._rates = [self._rate * scale for scale in self._scales]
        for part, rate in zip(self.parts, self._rates, strict=True):
            part["lr"] = rate
        return self.parts

    def leave(self) -> None:
        """Show in the group what the optimizer has written into the first part."""
        found = [dict.get(part, "lr") for part in self.parts]
        if self.parts[0] is not self.group:
            self.group.update(self.parts[0], params=self.group["params"])
        self.group["lr"] = self._rate
        if not all(map(is_, found, self._rates)):  # an optimizer that sets its own rate
            changes = zip(found, self._rates, self._scales, strict=True)
            self.group["lr"] = next(new / scale for new, old, scale in changes if new is not old)
        self._remember_shown()

    def own_values(self, part: Group) -> Group:
        """Return the values of a part that are not the same in all parts."""
        return {
            key: value
            for key, value in dict.items(part)
            if key not in ("params", "lr")
            and not all(_same(value, dict.get(other, key)) for other in self.parts)
        }

    def _remember_shown(self) -> None:
        self._shown = dict(self.group)
        tensors = [each for each in self._shown.items() if isinstance(each[1], Tensor)]
        self._versions = {key: value._version for key, value in tensors}

    def _set_by_others(self) -> list[str]:
        """Return the keys of the group whose values have been set since they were shown."""
        found, shown = self.group.values(), self._shown.values()
        if not self._versions and len(found) == len(shown) and all(map(is_, found, shown)):
            return []
        return [
            key
            for key, value in self.group.items()
            if key not in ("params", "lr")
            and (
                value is not self._shown.get(key, self)
                or (key in self._versions and value._version != self._versions[key])
            )
        ]


class _Watched(Group):
    """A copy of a parameter group that records which of its values are read."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def items(self) -> Any:
        self.read.update(self)
        return super().items()


def _copied(value: Any) -> Any:
    """Return a copy of a tensor, which an optimizer may change in place in one part."""
    return value.clone() if torch.is_tensor(value) else value


def _same(a: Any, b: Any) -> bool:
    if torch.is_tensor(a) and torch.is_tensor(b):
        return a is b or a.shape == b.shape and torch.equal(a, b)
    return a is b or not (torch.is_tensor(a) or torch.is_tensor(b)) and bool(a == b)
