"""Sparse training inside an ordinary training loop."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.bits import as_bits, clear_pruned, packed, unpacked
from sniper.holders import hold, release, require_free
from sniper.masks import Masks, global_masks, layerwise_masks
from sniper.prunable import scored_parameters
from sniper.rates import ScaledRates
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores, unwrapped
from sniper.settings import check_cap, checked_settings


class Sniper:
    """Keeps a model as sparse as a schedule says while an optimizer trains it.

    From construction on and after every update, masked weights are exactly zero, have no gradient
    (so they do not count in clipping) and no optimizer moments. After u updates the sparsity is
    `schedule(u)`: a switch takes place right after an update. Nothing has to be called in the loop,
    as everything hangs on hooks of the optimizer and of the parameters, which go once the schedule
    has come to sparsity 0 for good.

    When sparsity falls, the highest-scored of the masked weights return. When it rises, the
    smallest by current magnitude go (gradual magnitude pruning); if it falls again after that,
    what was pruned last returns first.

    Attributes:
        update: optimizer updates made so far, counted until the model is dense for good.
        record: one entry per switch: `update`, `nominal` and `achieved` sparsity, and `tensors`,
            {parameter name: sparsity}.
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
            cap, redistribute, compat: as for `global_masks`; the latter two go with no other
                allocation.
            allocation: `"global"`, or `"uniform"` or `"erk"` as for `layerwise_masks`.
            lr_scaling: the scheduler's rate times min(max_lr_scale, 1 / density): of each tensor by
                its own density (`"per_tensor"`), of all the optimizer holds by the density of all
                masked tensors (`"global"`), or `"none"`. Scaled rates exist only inside
                `optimizer.step()`, so neither schedulers nor checkpoints see them.
            max_lr_scale: largest factor, 1 or more.
            regrowth: weights return at the values they have now (`"init"`) or at 0 (`"zero"`).

        Raises:
            ValueError: no scores, a scored parameter is not in the model or not in the optimizer or
                differs in shape, a setting is unknown, out of its range or would be ignored, a
                sparsity cannot be reached under the cap, or another `Sniper` is attached.
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
        self._masks_at = (
            partial(global_masks, cap=cap, redistribute=redistribute, compat=compat)
            if allocation == "global"
            else partial(layerwise_masks, cap=cap, allocation=allocation)
        )
        self.schedule = schedule
        self.update = 0
        self.record: list[dict[str, Any]] = []
        self._model, self._optimizer = unwrapped(model), optimizer
        self._parameters: dict[str, nn.Parameter] = {}
        self._keep: dict[str, Tensor] = {}  # int8: -1 = kept (all bits set), 0 = pruned
        # Of each pruned weight, in order: the coming fall at which it returns, and its initial
        # value. A schedule that falls after a rise may bring any weight back: it has all of them.
        self._stage: dict[str, Tensor] = {}
        self._initial: dict[str, Tensor] = {}
        self._rates = ScaledRates(optimizer)
        self._before_attachment: list[tuple[Tensor, Tensor, Tensor, int]] = []
        self._hooks: list[Any] = []

        if scores is not None:
            shapes = {name: score.shape for name, score in scores.items()}
            self._parameters = scored_parameters(self._model, optimizer, shapes)
            sizes = [shape.numel() for shape in shapes.values()]
            check_cap(self._settings, schedule.ahead(0), sizes)
            require_free(self, [optimizer, *self._parameters.values()])
            if regrowth == "init" and schedule.falls_after_a_rise:
                self._initial = {name: p.detach().clone() for name, p in self._parameters.items()}
            if self.sparsity:
                self._choose(scores, remember=True)
            self._note()
        self._place_hooks()

    # ---- what there is to see

    @property
    def sparsity(self) -> float:
        """The schedule's present sparsity."""
        return self.schedule(self.update)

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}."""
        return {
            name: self._keep[name].bool() if self._keep else torch.ones_like(p, dtype=torch.bool)
            for name, p in self._parameters.items()
        }

    def learning_rates(self) -> dict[str, float]:
        """{parameter name: learning rate} in force, for all that the optimizer holds."""
        rates = self._rates.in_force()
        return {n: rates[id(p)] for n, p in self._model.named_parameters() if id(p) in rates}

    # ---- masks

    @torch.no_grad()
    def _choose(self, ranking: Scores, remember: bool = False) -> None:
        """Prune the lowest ranked, and settle at which coming fall each of them is to return."""
        falls = self.schedule.falls(self.update)
        parameters = self._parameters
        # Saved scores are on the CPU; masks, and what is made of them, go where the weights are.
        ranking = {name: ranking[name].to(p.device) for name, p in parameters.items()}
        pruned = {n: ~mask for n, mask in self._masks_at(ranking, falls[0]).items()}
        self._keep = {n: as_bits(~gone, parameters[n]) for n, gone in pruned.items()}
        if len(falls) > 1:
            count = torch.uint8 if len(falls) < 256 else torch.int32
            for name, gone in pruned.items():
                self._stage[name] = torch.ones(int(gone.sum()), dtype=count, device=gone.device)
            for sparsity in falls[1:]:  # masks are nested: count those that prune a weight
                for name, mask in self._masks_at(ranking, sparsity).items():
                    self._stage[name] += ~mask[pruned[name]]
            if self._settings["regrowth"] == "init" and not self.schedule.falls_after_a_rise:
                self._initial = {n: p.detach()[pruned[n]] for n, p in parameters.items()}
        for name, parameter in parameters.items():
            for tensor in self._weight_and_moments(parameter):
                values = tensor[pruned[name]] if remember else None
                clear_pruned(tensor, self._keep[name])
                if remember:
                    undo = (tensor, pruned[name], values, tensor._version)
                    self._before_attachment.append(undo)

    def _weight_and_moments(self, parameter: nn.Parameter) -> list[Tensor]:
        state = self._optimizer.state.get(parameter, {}).values()
        moments = [v for v in state if torch.is_tensor(v) and v.shape == parameter.shape]
        return [parameter, *moments]

    @torch.no_grad()
    def _switch(self) -> None:
        if self.sparsity > self.schedule(self.update - 1):
            ranking = {name: p.detach().abs() for name, p in self._parameters.items()}
            for name, keep in self._keep.items():
                # Zeros all: below every kept weight, and the later to return the lower.
                stage = self._stage.get(name, torch.ones((), device=keep.device))
                ranking[name][keep == 0] = -stage.to(ranking[name].dtype)
            self._choose(ranking)
        else:
            for name in self._parameters:
                self._bring_back(name)
        if self.sparsity == 0:
            self._keep = {}
        if len(self.schedule.falls(self.update)) == 1:  # nothing is to return before a rise
            self._stage = {}
        if len(self.schedule.ahead(self.update)) == 1:
            self._initial = {}
        self._note()

    def _bring_back(self, name: str) -> None:
        stage, keep, parameter = self._stage[name], self._keep[name], self._parameters[name]
        returning = stage == 1
        regrown = torch.zeros_like(keep, dtype=torch.bool)
        regrown[keep == 0] = returning
        if self._initial:
            initial, whole = self._initial[name], self.schedule.falls_after_a_rise
            parameter[regrown] = initial[regrown if whole else returning]
            self._initial[name] = initial if whole else initial[~returning]
        keep[regrown] = -1
        self._stage[name] = stage[~returning] - 1

    def _note(self) -> None:
        """Write the present sparsity down, and set the learning rates that follow from it."""
        sizes = {name: p.numel() for name, p in self._parameters.items()}
        pruned = {name: int((keep == 0).sum()) for name, keep in self._keep.items()}
        self.record.append(
            {
                "update": self.update,
                "nominal": self.sparsity,
                "achieved": sum(pruned.values()) / sum(sizes.values()),
                "tensors": {name: pruned.get(name, 0) / size for name, size in sizes.items()},
            }
        )
        self._set_rates()

    def _set_rates(self) -> None:
        present, limit = self.record[-1], self._settings["max_lr_scale"]

        def scale(sparsity: float) -> float:
            return min(limit, 1 / (1 - sparsity)) if sparsity < 1 else limit

        self._rates.scales = {}
        if self._keep and self._settings["lr_scaling"] == "global":
            self._rates.set_all(scale(present["achieved"]))
        elif self._keep and self._settings["lr_scaling"] == "per_tensor":
            tensors = present["tensors"].items()
            self._rates.scales = {id(self._parameters[name]): scale(s) for name, s in tensors}

    # ---- hooks

    def _place_hooks(self) -> None:
        self.detach()
        if self._parameters and not any(self.schedule.ahead(self.update)):
            return
        optimizer = self._optimizer
        require_free(self, [optimizer, *self._parameters.values()])
        hold(self, [optimizer, *self._parameters.values()])
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
            # An exception inside a step leaves the scaled rates in place.
            optimizer.register_state_dict_pre_hook(self._rates.restore),
            optimizer.register_load_state_dict_pre_hook(self._rates.restore),
        ]
        for name, p in self._parameters.items():
            if p.requires_grad:
                hook = partial(self._on_gradient, name)
                self._hooks.append(p.register_post_accumulate_grad_hook(hook))

    def detach(self) -> None:
        """Let go of the model and its optimizer; weights stay as they are."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._rates.restore()  # an exception inside a step leaves the scaled ones
        release(self)

    @torch.no_grad()
    def _on_gradient(self, name: str, parameter: nn.Parameter) -> None:
        if name in self._keep:
            clear_pruned(parameter.grad, self._keep[name])
        elif not any(self.schedule.ahead(self.update)):
            self.detach()  # not within a step, where torch iterates over the hooks

    def _before_step(self, _: Optimizer, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if not self._parameters:
            raise RuntimeError("this Sniper was built without scores: call load_state_dict first")
        self._rates.restore()
        self._before_attachment = []
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._prepared(kwargs["closure"])}
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._prepared(args[1]), *args[2:]), kwargs
        self._prepare()
        return None

    def _prepared(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, which computes gradients inside the step, followed by `_prepare`."""

        def wrapped() -> Any:
            self._rates.restore()
            result = closure()
            self._prepare()
            return result

        return wrapped

    @torch.no_grad()
    def _prepare(self) -> None:
        for name, keep in self._keep.items():  # again: gradients may have been set or edited
            if self._parameters[name].grad is not None:
                clear_pruned(self._parameters[name].grad, keep)
        self._rates.apply()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        self._rates.restore()
        for name, keep in self._keep.items():
            clear_pruned(self._parameters[name], keep)
        self.update += 1
        if self.sparsity != self.schedule(self.update - 1):
            self._switch()

    # ---- resuming

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to resume: position, masks, what is to return, record, settings."""
        if not self._parameters:
            raise RuntimeError("this Sniper was built without scores and has no state yet")
        return {
            "update": self.update,
            "settings": dict(self._settings),
            "shapes": {name: list(p.shape) for name, p in self._parameters.items()},
            "masks": {name: packed(keep) for name, keep in self._keep.items()},
            "stage": dict(self._stage),
            "initial": dict(self._initial),
            "record": list(self.record),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict()`, before or after model and optimizer load theirs.

        What construction has pruned comes back first, if nothing has touched it since.

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
        self._parameters = scored_parameters(self._model, self._optimizer, state["shapes"])
        for tensor, pruned, values, version in self._before_attachment:
            if tensor._version == version and not tensor[pruned].any():
                tensor[pruned] = values
        self._before_attachment = []

        self.update, self.record = state["update"], list(state["record"])
        self._stage, self._initial = (
            {n: values.to(self._parameters[n].device) for n, values in state[part].items()}
            for part in ("stage", "initial")
        )
        self._keep = {n: unpacked(m, self._parameters[n]) for n, m in state["masks"].items()}
        for name, keep in self._keep.items():
            for tensor in self._weight_and_moments(self._parameters[name]):
                clear_pruned(tensor, keep)
        self._set_rates()
        self._place_hooks()
