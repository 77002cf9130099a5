"""Sparse training inside an ordinary training loop."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.masks import Masks, global_masks, layerwise_masks
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores

_INTEGER_OF_SIZE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


class Sniper:
    """Keeps a model as sparse as a schedule says while an optimizer trains it.

    From construction on, masked weights are exactly zero after every update, have no gradient
    (so they do not count in clipping) and no optimizer moments. The state after u updates has the
    sparsity `schedule(u)`: switches take place right after an update. Nothing has to be called in
    the loop, as everything hangs on hooks of the optimizer and of the parameters, which are gone
    once the schedule has ended at sparsity 0.

    When sparsity falls, the highest-scored of the masked weights return. When it rises, the smallest
    by current magnitude go (gradual magnitude pruning); if it falls again after that, what was
    pruned last returns first.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        scores: Scores | None,
        schedule: SparsitySchedule,
        *,
        cap: float = 1.0,
        redistribute: bool = True,
        allocation: str = "global",
        compat: str | None = None,
        lr_scaling: str = "per_tensor",
        max_lr_scale: float = 4.0,
        regrowth: str = "init",
    ) -> None:
        """Attach to a model and its optimizer, and apply `schedule(0)` at once.

        Args:
            scores: {parameter name: score of its shape}; these parameters are the prunable ones.
                None waits for `load_state_dict`, in order to resume without scoring again.
            cap, redistribute, compat: as for `global_masks`.
            allocation: `"global"`, or `"uniform"` or `"erk"` as for `layerwise_masks`.
            lr_scaling: the scheduler's rate times min(max_lr_scale, 1 / density): of each tensor by
                its own density (`"per_tensor"`), of all that the optimizer holds by the density
                overall (`"global"`), or `"none"`. Scaled rates exist only inside
                `optimizer.step()`, so no scheduler and no checkpoint sees them.
            max_lr_scale: largest factor.
            regrowth: weights return at the values they have now (`"init"`) or at 0 (`"zero"`).

        Raises:
            ValueError: a scored parameter is not in the model or not in the optimizer, a shape is
                wrong, a setting is unknown, or a sparsity cannot be reached under the cap.
        """
        self._settings = {
            "schedule": schedule.milestones,
            "cap": cap,
            "redistribute": redistribute,
            "allocation": allocation,
            "compat": compat,
            "lr_scaling": _one_of("lr_scaling", lr_scaling, "per_tensor", "global", "none"),
            "max_lr_scale": max_lr_scale,
            "regrowth": _one_of("regrowth", regrowth, "init", "zero"),
        }
        _one_of("allocation", allocation, "global", "uniform", "erk")
        if lr_scaling != "none" and isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("LBFGS has one rate for a whole line search: use lr_scaling='none'")
        self.schedule = schedule
        self.update = 0
        self.record: list[dict[str, Any]] = []
        self._model, self._optimizer = model, optimizer
        self._parameters: dict[str, nn.Parameter] = {}
        self._hooks: list[Any] = []
        self._groups: list[dict] | None = None  # the optimizer's own, while scaled ones stand in
        self._before_attachment: list[tuple[Tensor, Tensor, Tensor, int]] = []
        # Per masked tensor: 0 = pruned, -1 = kept; and, in the order of its pruned weights, at
        # which coming fall each returns and its initial value, where any can return.
        self._keep: dict[str, Tensor] = {}
        self._stage: dict[str, Tensor] = {}
        self._initial: dict[str, Tensor] = {}
        self._all_initial: dict[str, Tensor] = {}
        self._density: dict[str, float] = {}

        if scores is not None:
            self._parameters = self._find({name: score.shape for name, score in scores.items()})
            if regrowth == "init" and self._falls_after_a_rise():
                self._all_initial = {n: p.detach().clone() for n, p in self._parameters.items()}
            self._set_masks(scores, attaching=True)
        self._place_hooks()

    # What there is to see

    @property
    def sparsity(self) -> float:
        """The schedule's present sparsity."""
        return self.schedule(self.update)

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}."""
        return {
            name: self._keep[name].bool()
            if name in self._keep
            else torch.ones_like(parameter, dtype=torch.bool)
            for name, parameter in self._parameters.items()
        }

    def lr_scales(self) -> dict[str, float]:
        """{parameter name: factor on the scheduler's rate}, where there is one."""
        limit, densities = self._settings["max_lr_scale"], self._density
        if self._settings["lr_scaling"] == "none" or not densities:
            return {}
        if self._settings["lr_scaling"] == "global":
            kept = sum(d * self._parameters[name].numel() for name, d in densities.items())
            overall = kept / sum(p.numel() for p in self._parameters.values())
            densities = dict.fromkeys(_unique_names(self._model), overall)
        return {name: min(limit, 1 / d) if d else limit for name, d in densities.items()}

    def learning_rates(self) -> dict[str, float]:
        """{name: learning rate} in force for each of the optimizer's parameters."""
        scales, names = self.lr_scales(), _names_by_id(self._model)
        return {
            names[id(p)]: float(group["lr"]) * scales.get(names[id(p)], 1.0)
            for group in self._optimizer.param_groups
            for p in group["params"]
            if id(p) in names
        }
