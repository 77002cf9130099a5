"""Learning rates that are scaled inside an optimizer's step and nowhere else."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.switch import Switch

Group = dict[str, Any]


class ScaledRates:
    """Scales the rates of single parameters, unseen by schedulers, checkpoints and closures.

    Between `apply` and `restore`, a group whose parameters have different rates is replaced by
    one group for each rate. What an optimizer keeps in its groups is carried over from step to
    step: once in the optimizer's own group where the groups of a split agree, as counters do, and
    for each parameter where they do not.

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
        self._own: list[Group] | None = None
        # Own group, its own rate, and the groups that stand for it with their rates and values.
        self._splits: list[tuple[Group, Any, list[tuple[Group, float, Group]]]] = []
        self._kept: dict[int, Group] = {}  # by id of the parameter, shared within a split
        self._verified = False

    def follow(self, switch: Switch, parameters: Mapping[str, nn.Parameter]) -> None:
        """Set the factors that follow from a sparsity: 1 / density, up to the limit."""

        def scale(sparsity: float) -> float:
            return min(self._limit, 1 / (1 - sparsity)) if sparsity < 1 else self._limit

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
        self._own = self._optimizer.param_groups
        groups: list[Group] = []
        for group in self._own:
            self._forget_overwritten(group)
            members: dict[tuple[float, int], list[Tensor]] = {}
            for p in group["params"]:
                key = self._scales.get(id(p), self._default), id(self._kept.get(id(p)))
                members.setdefault(key, []).append(p)
            rate, parts = group["lr"], []
            for (scale, _), params in members.items():
                # A group that is not split stays the same object, to which others may refer.
                watched = dict(group) if self._verified else _Watched(group)
                part = group if len(members) == 1 else watched
                part.update(self._kept.get(id(params[0]), {}))
                if part is not group:
                    part.update(_own_tensors(part), params=params)
                part["lr"] = rate * scale
                parts.append((part, scale, dict(part) | _own_tensors(part)))
            self._splits.append((group, rate, parts))
            groups += [part for part, *_ in parts] or [group]
        if len(groups) > len(self._own):
            self._optimizer.param_groups = groups

    def restore(self, after_update: bool = False) -> None:
        """Bring the optimizer's own groups back, right after the update or before others look."""
        if self._own is None:
            return
        if after_update:
            self._verify()
        for group, rate, parts in self._splits:
            changed = {key for part, _, then in parts for key in _changed(part, then)}
            for key in changed - {"params", "lr"}:
                values = [part[key] for part, *_ in parts if key in part]
                agree = all(_same(value, values[0]) for value in values)
                for part, *_ in parts:
                    kept = {k: v for k, v in self._kept_of(part).items() if k != key}
                    if not agree and key in part:
                        kept[key] = part[key]
                    for p in part["params"]:
                        self._kept[id(p)] = kept
                group[key] = values[0]
            group.update(self._kept.get(id(group["params"][0]), {}) if group["params"] else {})
            # An optimizer that sets its own rate has set a scaled one.
            group["lr"] = rate
            if "lr" in changed:
                group["lr"] = next(
                    part["lr"] / scale
                    for part, scale, then in parts
                    if "lr" in _changed(part, then)
                )
        self._optimizer.param_groups = self._own
        self._splits, self._own = [], None

    def _kept_of(self, part: Group) -> Group:
        return self._kept.get(id(part["params"][0]), {})

    def _forget_overwritten(self, group: Group) -> None:
        """Drop kept values of a group that someone has set since, such as a scheduler."""
        lead = self._kept.get(id(group["params"][0]), {}) if group["params"] else {}
        for key in [key for key, value in lead.items() if not _same(group.get(key), value)]:
            for p in group["params"]:
                self._kept[id(p)].pop(key, None)

    def _verify(self) -> None:
        """At the first update with split groups, look whether the optimizer has read them all."""
        watched = [p for *_, parts in self._splits for p, *_ in parts if isinstance(p, _Watched)]
        if self._verified or not watched:
            return
        self._verified = True
        active = [each for each in watched if any(p.grad is not None for p in each["params"])]
        name = type(self._optimizer).__name__
        if not any("lr" in each.read for each in active):
            self._fall_back("none", f"{name} does not read the rates of its parameter groups")
        elif not all({"lr", "params"} <= each.read for each in active):
            self._fall_back("global", f"{name} does not use every one of its parameter groups")

    def _fall_back(self, lr_scaling: str, reason: str) -> None:
        self.lr_scaling, self._scales = lr_scaling, {}
        self._default = self._scales_global if lr_scaling == "global" else 1.0
        warnings.warn(
            f"{reason}, so that rates could not be scaled for each tensor in this update; from now "
            f"on lr_scaling is {lr_scaling!r}: choose it from the start",
            stacklevel=2,
        )

    def state_dict(self, names: Mapping[int, str]) -> dict[str, Any]:
        """What the optimizer's own checkpoint lacks: values of its groups that differ by split."""
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
        self.lr_scaling, self._verified, self._kept = state["lr_scaling"], state["verified"], {}
        for each in state["kept"]:
            values = dict(each["values"])
            self._kept |= {id(parameters[name]): values for name in each["parameters"]}


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


def _own_tensors(part: Group) -> Group:
    """Return copies of the tensors in a group, which its optimizer may change in place."""
    return {k: v.clone() for k, v in dict.items(part) if torch.is_tensor(v) and k != "lr"}


def _same(a: Any, b: Any) -> bool:
    if torch.is_tensor(a) and torch.is_tensor(b):
        return a is b or a.shape == b.shape and torch.equal(a, b)
    return a is b or not (torch.is_tensor(a) or torch.is_tensor(b)) and bool(a == b)


def _changed(part: Group, then: Group) -> list[str]:
    """Return the keys whose values are no longer what they were then."""
    others = [key for key, value in dict.items(part) if value is not then.get(key, then)]
    return [key for key in others if key not in then or not _same(part[key], then[key])]
