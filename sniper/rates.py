"""Learning rates that are scaled inside an optimizer's step and nowhere else."""

from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class ScaledRates:
    """Scales the rates of single parameters, unseen by schedulers, checkpoints and closures.

    Between `apply` and `restore`, the optimizer's groups are replaced by groups split by rate.

    Attributes:
        scales: {id of a parameter: factor on the rate of its group}; 1 for parameters left out.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.scales: dict[int, float] = {}
        self._optimizer = optimizer
        self._own: list[dict[str, Any]] | None = None
        self._splits: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def set_all(self, scale: float) -> None:
        """Scale everything that the optimizer holds by the same factor."""
        groups = self._optimizer.param_groups
        self.scales = {id(p): scale for group in groups for p in group["params"]}

    def in_force(self) -> dict[int, float]:
        """{id of a parameter: learning rate} for everything that the optimizer holds."""
        groups = self._own or self._optimizer.param_groups
        return {
            id(p): float(group["lr"]) * self.scales.get(id(p), 1.0)
            for group in groups
            for p in group["params"]
        }

    def apply(self) -> None:
        """Scale the rates, right before the update."""
        if not self.scales:
            return
        self._own = self._optimizer.param_groups
        for group in self._own:
            members: dict[float, list[Tensor]] = {}
            for parameter in group["params"]:
                members.setdefault(self.scales.get(id(parameter), 1.0), []).append(parameter)
            for scale, params in members.items():
                split = {**group, "lr": group["lr"] * scale, "params": params}
                self._splits.append((group, split))
        self._optimizer.param_groups = [split for _, split in self._splits]

    def restore(self) -> None:
        """Bring the optimizer's own groups back, right after the update or before others look."""
        if self._own is None:
            return
        for group, split in self._splits:  # some optimizers keep counters in their groups
            group.update({k: v for k, v in split.items() if k not in ("params", "lr")})
        self._optimizer.param_groups = self._own
        self._splits, self._own = [], None
