"""Sparse training inside an ordinary training loop."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sniper.attachment import Attachment
from sniper.masks import Masks, global_masks, layerwise_masks
from sniper.prunable import scored_parameters
from sniper.pruning import Pruning
from sniper.rates import ScaledRates
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores, unwrapped
from sniper.settings import check_cap, checked_settings
from sniper.switch import Switch


class Sniper:
    """Keeps a model as sparse as a schedule says while an optimizer trains it.

    From construction on and after every update, masked weights are exactly zero, have no gradient
    (so they do not count in clipping) and no optimizer moments. After u updates the sparsity is
    `schedule(u)`: a switch takes place right after an update. The training loop calls nothing:
    hooks on the optimizer and on the parameters do the work. They are removed once the schedule
    has reached sparsity 0 for good.

    When sparsity falls, the highest-scored of the masked weights return. When it rises, the kept
    weights of the smallest magnitude are pruned (gradual magnitude pruning). If it falls again
    after that, the weights that were pruned last return first.

    Attributes:
        update: optimizer updates made so far, counted until the model is dense for good.
        record: one `Switch` for the start and for each change of sparsity.
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
                With None, construction waits for `load_state_dict`, so that a resumed training
                need not score again.
            cap: as for `global_masks`.
            redistribute, compat: as for `global_masks`; only for the allocation `"global"`.
            allocation: `"global"`, or `"uniform"` or `"erk"` as for `layerwise_masks`.
            lr_scaling: multiplies the scheduler's rate by min(max_lr_scale, 1 / density).
                `"per_tensor"` takes each tensor's own density. `"global"` takes the density of all
                masked tensors together, for everything that the optimizer holds. `"none"` leaves
                rates alone. Scaled rates exist only inside `optimizer.step()`, so neither
                schedulers nor checkpoints see them.
            max_lr_scale: largest factor, 1 or more.
            regrowth: weights return at the values they have now (`"init"`) or at 0 (`"zero"`).

        Raises:
            ValueError: there are no scores, or a scored parameter is not in the model or not in the
                optimizer or differs in shape; a setting is unknown, out of its range or would be
                ignored; a sparsity cannot be reached under the cap; or another `Sniper` is
                attached.
        """
        self._settings = checked_settings(
            schedule,
            optimizer,
            cap=cap,
            redistribute=redistribute,
            allocation=allocation,
            compat=compat,
            lr_scaling=lr_scaling,
            max_lr_scale=max_lr_scale,
            regrowth=regrowth,
        )
        self.schedule = schedule
        self.update = 0
        self.record: list[Switch] = []
        self._model, self._optimizer = unwrapped(model), optimizer
        self._rates = ScaledRates(optimizer)
        self._attachment = Attachment(
            optimizer,
            on_gradient=self._on_gradient,
            before_update=self._before_update,
            after_update=self._after_update,
            restore_rates=self._rates.restore,
        )
        self._pruning = Pruning(
            optimizer,
            partial(global_masks, cap=cap, redistribute=redistribute, compat=compat)
            if allocation == "global"
            else partial(layerwise_masks, cap=cap, allocation=allocation),
            regrow_at_initial=regrowth == "init",
            regrow_anywhere=schedule.falls_after_rise,
        )
        if scores is not None:
            shapes = {name: score.shape for name, score in scores.items()}
            parameters = scored_parameters(self._model, optimizer, shapes)
            sizes = [shape.numel() for shape in shapes.values()]
            check_cap(self._settings, schedule.upcoming(0), sizes)
            self._attachment.require_free(parameters.values())
            self._pruning.parameters = parameters
            self._pruning.prune_first(scores, schedule.until_rise(0))
            self._record_switch()
        self._attach()

    @property
    def sparsity(self) -> float:
        """The schedule's present sparsity."""
        return self.schedule(self.update)

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}."""
        return self._pruning.masks

    def learning_rates(self) -> dict[str, float]:
        """{parameter name: learning rate} in force, for everything that the optimizer holds."""
        rates = self._rates.in_force()
        return {n: rates[id(p)] for n, p in self._model.named_parameters() if id(p) in rates}

    def detach(self) -> None:
        """Remove all hooks from the model and its optimizer; weights stay as they are."""
        self._attachment.detach()
        self._rates.restore()  # an exception inside a step leaves the scaled ones in place

    # ---- training

    def _attach(self) -> None:
        self.detach()
        if not self._pruning.parameters or any(self.schedule.upcoming(self.update)):
            self._attachment.attach(self._pruning.parameters)

    def _on_gradient(self, name: str) -> None:
        if self._pruning.keep:
            self._pruning.zero_gradient(name)
        elif not any(self.schedule.upcoming(self.update)):
            self.detach()  # not earlier, within a step, where torch iterates over the hooks

    def _before_update(self) -> None:
        if not self._pruning.parameters:
            raise RuntimeError("this Sniper was built without scores: call load_state_dict first")
        self._pruning.forget_undo()
        for name in self._pruning.keep:  # again, since gradients may have been set or edited
            self._pruning.zero_gradient(name)
        self._rates.apply()

    def _after_update(self) -> None:
        self._rates.restore()
        self._pruning.zero_weights()
        self.update += 1
        if self.sparsity != self.schedule(self.update - 1):
            self._switch()

    def _switch(self) -> None:
        if self.sparsity > self.schedule(self.update - 1):
            self._pruning.prune_more(self.schedule.until_rise(self.update))
        else:
            self._pruning.regrow()
        self._pruning.free_unneeded(self.schedule, self.update)
        self._record_switch()

    def _record_switch(self) -> None:
        """Record the present sparsity, and set the learning rates that follow from it."""
        sizes = {name: p.numel() for name, p in self._pruning.parameters.items()}
        pruned = self._pruning.pruned_counts()
        achieved = sum(pruned.values()) / sum(sizes.values())
        tensors = {name: pruned[name] / size for name, size in sizes.items()}
        self.record.append(Switch(self.update, self.sparsity, achieved, tensors))
        self._set_rates()

    def _set_rates(self) -> None:
        present, limit = self.record[-1], self._settings["max_lr_scale"]

        def scale(sparsity: float) -> float:
            return min(limit, 1 / (1 - sparsity)) if sparsity < 1 else limit

        self._rates.scales = {}
        if self._pruning.keep and self._settings["lr_scaling"] == "global":
            self._rates.set_all(scale(present.achieved))
        elif self._pruning.keep and self._settings["lr_scaling"] == "per_tensor":
            self._rates.scales = {
                id(self._pruning.parameters[name]): scale(sparsity)
                for name, sparsity in present.tensors.items()
            }

    # ---- resuming

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to resume, as plain types and tensors.

        Raises:
            RuntimeError: construction without scores is still waiting for `load_state_dict`.
        """
        if not self._pruning.parameters:
            raise RuntimeError("this Sniper was built without scores and has no state yet")
        return {
            "update": self.update,
            "settings": dict(self._settings),
            "shapes": {name: list(p.shape) for name, p in self._pruning.parameters.items()},
            **self._pruning.state_dict(),
            "record": [asdict(switch) for switch in self.record],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict()`, before or after model and optimizer load their states.

        Weights that construction has pruned are restored first, unless they have changed since.

        Raises:
            ValueError: a parameter does not fit, or a setting differs from the saved one.
        """
        changed = [
            f"{key} ({value} then, {self._settings[key]} now)"
            for key, value in state["settings"].items()
            if value != self._settings[key]
        ]
        if changed:
            raise ValueError(f"settings changed since the checkpoint: {', '.join(changed)}")
        self._pruning.parameters = scored_parameters(self._model, self._optimizer, state["shapes"])
        self._pruning.undo_first()
        self.update, self.record = state["update"], [Switch(**each) for each in state["record"]]
        self._pruning.load_state_dict(state)
        self._set_rates()
        self._attach()
