"""Sparse training inside an ordinary training loop."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.masks import Masks, check_reachable, global_masks, layerwise_masks
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores, unwrapped

_INTEGER_OF_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


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
        schedule: the schedule.
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
            schedule: sparsity by updates.
            cap, redistribute, compat: as for `global_masks`.
            allocation: `"global"`, or `"uniform"` or `"erk"` as for `layerwise_masks`.
            lr_scaling: the scheduler's rate times min(max_lr_scale, 1 / density): of each tensor by
                its own density (`"per_tensor"`), of all the optimizer holds by the density of all
                masked tensors (`"global"`), or `"none"`. Scaled rates exist only inside
                `optimizer.step()`, so neither schedulers nor checkpoints see them.
            max_lr_scale: largest factor.
            regrowth: weights return at the values they have now (`"init"`) or at 0 (`"zero"`).

        Raises:
            ValueError: a scored parameter is not in the model or not in the optimizer or differs in
                shape, a setting is unknown, or a sparsity cannot be reached under the cap.
        """
        _check_option("lr_scaling", lr_scaling, "per_tensor", "global", "none")
        _check_option("regrowth", regrowth, "init", "zero")
        _check_option("allocation", allocation, "global", "uniform", "erk")
        if lr_scaling != "none" and isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("LBFGS has one rate for a whole line search: use lr_scaling='none'")
        self.schedule = schedule
        self.update = 0
        self.record: list[dict[str, Any]] = []
        self._settings = {
            "schedule": schedule.milestones,
            "cap": cap,
            "redistribute": redistribute,
            "allocation": allocation,
            "compat": compat,
            "lr_scaling": lr_scaling,
            "max_lr_scale": max_lr_scale,
            "regrowth": regrowth,
        }
        self._model, self._optimizer = unwrapped(model), optimizer
        self._parameters: dict[str, nn.Parameter] = {}
        self._keep: dict[str, Tensor] = {}  # int8: -1 = kept (all bits set), 0 = pruned
        # Of each pruned weight, in order: the coming fall at which it returns, and its initial
        # value; only while something is to return.
        self._stage: dict[str, Tensor] = {}
        self._initial: dict[str, Tensor] = {}
        # Of all weights: only for schedules that fall after a rise, which may prune any of them.
        self._all_initial: dict[str, Tensor] = {}
        self._scales: dict[int, float] = {}  # by id of the parameter
        self._split_groups: list[tuple[dict, dict]] = []
        self._own_groups: list[dict] | None = None
        self._before_attachment: list[tuple[Tensor, Tensor, Tensor, int]] = []
        self._hooks: list[Any] = []

        if scores is not None:
            self._parameters = self._find({name: score.shape for name, score in scores.items()})
            if redistribute and compat is None:
                sizes = [score.numel() for score in scores.values()]
                check_reachable(sizes, max(schedule.ahead(0)), cap)
            if regrowth == "init" and schedule.falls_after_a_rise:
                self._all_initial = {n: p.detach().clone() for n, p in self._parameters.items()}
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
        names = {id(p): name for name, p in self._model.named_parameters()}
        return {
            names.get(id(p), "?"): float(group["lr"]) * self._scale(p)
            for group in self._optimizer.param_groups
            for p in group["params"]
        }

    # ---- masks

    def _find(self, shapes: Mapping[str, torch.Size]) -> dict[str, nn.Parameter]:
        """The model's parameters of these names; complains of all that do not fit at once."""
        present = dict(self._model.named_parameters(remove_duplicate=False))
        held = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        problems = []
        for name, shape in shapes.items():
            if name not in present:
                problems.append(f"{name} is not a parameter of the model")
            elif present[name].shape != torch.Size(shape):
                problems.append(
                    f"{name} has shape {tuple(present[name].shape)}, its scores {tuple(shape)}"
                )
            elif id(present[name]) not in held:
                problems.append(f"{name} is not in the optimizer")
        if problems:
            raise ValueError("scores do not fit: " + "; ".join(problems))
        return {name: present[name] for name in shapes}

    def _masks_at(self, ranking: Scores, sparsity: float) -> Masks:
        options = self._settings
        if options["allocation"] == "global":
            return global_masks(
                ranking, sparsity, options["cap"], options["redistribute"], options["compat"]
            )
        return layerwise_masks(ranking, sparsity, options["allocation"], options["cap"])

    @torch.no_grad()
    def _choose(self, ranking: Scores, remember: bool = False) -> None:
        """Prune the lowest ranked, and settle at which coming fall each of them is to return."""
        falls = self.schedule.falls(self.update)
        count_type = torch.uint8 if len(falls) < 256 else torch.int32
        stages = {n: torch.zeros_like(p, dtype=count_type) for n, p in self._parameters.items()}
        for sparsity in falls:  # masks are nested: the number that prune a weight is its stage
            for name, mask in self._masks_at(ranking, sparsity).items():
                stages[name] += ~mask
        for name, parameter in self._parameters.items():
            pruned = stages[name] > 0
            self._keep[name] = ~pruned.to(torch.int8).neg_()
            if len(falls) > 1:
                self._stage[name] = stages[name][pruned]
                if self._settings["regrowth"] == "init" and not self._all_initial:
                    self._initial[name] = parameter[pruned]
            for tensor in self._weight_and_moments(parameter):
                values = tensor[pruned] if remember else None
                _clear_pruned(tensor, self._keep[name])
                if remember:
                    self._before_attachment.append((tensor, pruned, values, tensor._version))

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
            for name, parameter in self._parameters.items():
                self._bring_back(name, parameter)
        if self.sparsity == 0:
            self._keep = {}
        if len(self.schedule.falls(self.update)) == 1:
            self._stage, self._initial = {}, {}
        if len(self.schedule.ahead(self.update)) == 1:
            self._all_initial = {}
        self._note()

    def _bring_back(self, name: str, parameter: nn.Parameter) -> None:
        stage, keep = self._stage[name], self._keep[name]
        returning = stage == 1
        regrown = torch.zeros_like(keep, dtype=torch.bool)
        regrown[keep == 0] = returning
        if self._all_initial:
            parameter[regrown] = self._all_initial[name][regrown]
        elif self._initial:
            parameter[regrown] = self._initial[name][returning]
            self._initial[name] = self._initial[name][~returning]
        keep[regrown] = -1
        self._stage[name] = stage[~returning] - 1

    def _note(self) -> None:
        """Write the present sparsity down, and the learning-rate factors that follow from it."""
        sizes = {name: p.numel() for name, p in self._parameters.items()}
        pruned = {name: int((keep == 0).sum()) for name, keep in self._keep.items()}
        achieved = sum(pruned.values()) / max(1, sum(sizes.values()))
        tensors = {name: pruned.get(name, 0) / size for name, size in sizes.items()}
        self.record.append(
            {
                "update": self.update,
                "nominal": self.sparsity,
                "achieved": achieved,
                "tensors": tensors,
            }
        )
        self._set_scales()

    # ---- learning rates

    def _set_scales(self) -> None:
        self._scales = {}
        if not self._keep or self._settings["lr_scaling"] == "none":
            return
        present, limit = self.record[-1], self._settings["max_lr_scale"]

        def scale(sparsity: float) -> float:
            return min(limit, 1 / (1 - sparsity)) if sparsity < 1 else limit

        if self._settings["lr_scaling"] == "global":
            overall = scale(present["achieved"])
            groups = self._optimizer.param_groups
            self._scales = {id(p): overall for group in groups for p in group["params"]}
        else:
            parameters = self._parameters
            self._scales = {id(parameters[n]): scale(s) for n, s in present["tensors"].items()}

    def _scale(self, parameter: Tensor) -> float:
        return self._scales.get(id(parameter), 1.0)

    def _scale_rates(self) -> None:
        """Let groups split by their scaled rate stand in for the optimizer's own."""
        if not self._scales:
            return
        self._own_groups = self._optimizer.param_groups
        for group in self._own_groups:
            members: dict[float, list[Tensor]] = {}
            for parameter in group["params"]:
                members.setdefault(self._scale(parameter), []).append(parameter)
            self._split_groups += [
                (group, {**group, "lr": group["lr"] * scale, "params": params})
                for scale, params in members.items()
            ]
        self._optimizer.param_groups = [split for _, split in self._split_groups]

    def _restore_rates(self, *_: Any) -> None:
        if self._own_groups is None:
            return
        for group, split in self._split_groups:  # some optimizers keep counters in their groups
            group.update({k: v for k, v in split.items() if k not in ("params", "lr")})
        self._optimizer.param_groups = self._own_groups
        self._split_groups, self._own_groups = [], None

    # ---- hooks

    def _place_hooks(self) -> None:
        self.detach()
        waiting = not self._parameters
        if not waiting and not any(self.schedule.ahead(self.update)):
            return
        optimizer = self._optimizer
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
            # An exception inside a step leaves the scaled rates in place.
            optimizer.register_state_dict_pre_hook(self._restore_rates),
            optimizer.register_load_state_dict_pre_hook(self._restore_rates),
        ]
        self._hooks += [
            p.register_post_accumulate_grad_hook(partial(self._on_gradient, name))
            for name, p in self._parameters.items()
            if p.requires_grad
        ]

    def detach(self) -> None:
        """Let go of the model and its optimizer; weights stay as they are."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    @torch.no_grad()
    def _on_gradient(self, name: str, parameter: nn.Parameter) -> None:
        if name in self._keep:
            _clear_pruned(parameter.grad, self._keep[name])
        elif not any(self.schedule.ahead(self.update)):
            self.detach()  # not within a step, where torch iterates over them

    def _before_step(self, _: Optimizer, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        if not self._parameters:
            raise RuntimeError("this Sniper was built without scores: call load_state_dict first")
        self._restore_rates()
        self._before_attachment = []
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._prepared(kwargs["closure"])}
        if len(args) > 1 and callable(args[1]):
            return (args[0], self._prepared(args[1]), *args[2:]), kwargs
        self._prepare()
        return None

    def _prepared(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, which computes gradients inside the step, followed by `_prepare`."""

        def wrapped() -> Any:
            self._restore_rates()
            result = closure()
            self._prepare()
            return result

        return wrapped

    @torch.no_grad()
    def _prepare(self) -> None:
        for name, keep in self._keep.items():  # again: gradients may have been set or edited
            gradient = self._parameters[name].grad
            if gradient is not None:
                _clear_pruned(gradient, keep)
        self._scale_rates()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        self._restore_rates()
        for name, keep in self._keep.items():
            _clear_pruned(self._parameters[name], keep)
        before = self.sparsity
        self.update += 1
        if self.sparsity != before:
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
            "masks": {name: _packed(keep) for name, keep in self._keep.items()},
            "stage": dict(self._stage),
            "initial": dict(self._initial),
            "all_initial": dict(self._all_initial),
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
        self._parameters = self._find(state["shapes"])
        for tensor, pruned, values, version in self._before_attachment:
            if tensor._version == version and not tensor[pruned].any():
                tensor[pruned] = values
        self._before_attachment = []

        def moved(part: str) -> dict[str, Tensor]:
            return {n: v.to(self._parameters[n].device) for n, v in state[part].items()}

        self.update, self.record = state["update"], list(state["record"])
        self._stage, self._initial = moved("stage"), moved("initial")
        self._all_initial = moved("all_initial")
        self._keep = {
            name: _unpacked(bits, self._parameters[name]) for name, bits in moved("masks").items()
        }
        for name, keep in self._keep.items():
            for tensor in self._weight_and_moments(self._parameters[name]):
                _clear_pruned(tensor, keep)
        self._set_scales()
        self._place_hooks()


def _check_option(what: str, value: str, *options: str) -> None:
    if value not in options:
        raise ValueError(f"{what} is one of {', '.join(options)}, not {value!r}")


def _clear_pruned(values: Tensor, keep: Tensor) -> None:
    """Zero what is pruned, in place, on the bits: faster than a product, and rid of NaNs."""
    values.view(_INTEGER_OF_SIZE[values.element_size()]).bitwise_and_(keep)


def _packed(keep: Tensor) -> Tensor:
    """Eight entries to a byte, flat."""
    bits = nn.functional.pad(-keep.flatten(), (0, -keep.numel() % 8)).view(-1, 8)
    return (bits.to(torch.uint8) << torch.arange(8, dtype=torch.uint8, device=keep.device)).sum(
        1, dtype=torch.uint8
    )


def _unpacked(packed: Tensor, like: Tensor) -> Tensor:
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    bits = (packed.unsqueeze(1) >> shifts) & 1
    return -bits.flatten()[: like.numel()].view(like.shape).to(torch.int8)
