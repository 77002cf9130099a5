"""Sparse training inside an ordinary training loop."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from sniper.attachment import Attachment, Events
from sniper.checks import places_of, require_equal_masks, require_in_place, warn_of_dead_tensors
from sniper.masks import Masks, MinDensity
from sniper.optimizers import chain_of
from sniper.prunable import plain_name, scored_parameters, unwrapped
from sniper.rates import ScaledRates
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores
from sniper.settings import check_cap, checked_settings, plain
from sniper.strategies.groups import GroupedPruning
from sniper.strategies.growth import Strategy
from sniper.strategies.kinds import pruning_of
from sniper.strategies.levels import shuffled
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
        schedule: SparsitySchedule | Mapping[int, float] | float,
        *,
        cap: float = 1.0,
        redistribute: bool = True,
        allocation: str = "global",
        compat: str | None = None,
        min_density: MinDensity = 0.0,
        lr_scaling: str = "per_tensor",
        max_lr_scale: float = 4.0,
        regrowth: str | None = None,
        pruned: str = "zero",
        pattern: str | None = None,
        return_order: str = "highest_first",
        shuffle_seed: int | None = None,
        strategy: Strategy | None = None,
        groups: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    ) -> None:
        """Attach to a model and its optimizer, and apply `schedule(0)` at once.

        Args:
            scores: {parameter name: score of its shape}; these parameters are the prunable ones.
                With None, construction waits for `load_state_dict`, so that a resumed training
                need not score again.
            schedule: a schedule, or {update: sparsity}, or a constant sparsity.
            cap, min_density: as for `global_masks`.
            redistribute, compat: as for `global_masks`; only for the allocation `"global"`.
            allocation: `"global"`, or `"uniform"` or `"erk"` as for `layerwise_masks`.
            lr_scaling: multiplies the scheduler's rate by min(max_lr_scale, 1 / density).
                `"per_tensor"` takes each tensor's own density. `"global"` takes the density of all
                masked tensors together, for everything that the optimizer holds. `"none"` leaves
                rates alone. Scaled rates exist only inside `optimizer.step()`, so neither
                schedulers nor checkpoints see them.
            max_lr_scale: largest factor, 1 or more.
            regrowth: weights return at the values they have now (`"init"`) or at 0 (`"zero"`); by
                default as the strategy has it, or else `"init"`.
            pruned: pruned weights are 0 (`"zero"`), or stay at the values they have now
                (`"frozen"`), or are trained all the same (`"trained"`), so that the masks have no
                effect but the scaled learning rates.
            pattern: `"2:4"` keeps 2 of each 4 weights in a row, `"4x1"` prunes whole blocks; see
                `sniper.strategies.patterns`.
            return_order: of the masked weights, those of the highest scores return first
                (`"highest_first"`) or last (`"highest_last"`).
            shuffle_seed: shuffle the scores within each tensor, which keeps every tensor's share.
            strategy: moves masks between switches, such as `RigL`; see `sniper.strategies`.
            groups: `{"encoder.*": {"schedule": 0.8, "cap": 0.9}}` gives parameters of these names
                their own schedule, cap, min_density, allocation, redistribute, pattern, regrowth,
                return_order or strategy, and a threshold of scores of their own. The first pattern
                that matches a name counts.

        Raises:
            ValueError: there are no scores, or a scored parameter is not in the model or not in the
                optimizer or differs in shape; a setting is unknown, out of its range or would be
                ignored; a sparsity cannot be reached under the cap; or another `Sniper` is
                attached.
        """
        schedule, chain = SparsitySchedule.of(schedule), chain_of(optimizer)
        self._settings = checked_settings(
            schedule,
            chain[-1],
            cap=cap,
            redistribute=redistribute,
            allocation=allocation,
            compat=compat,
            min_density=min_density,
            lr_scaling=lr_scaling,
            max_lr_scale=max_lr_scale,
            regrowth=regrowth,
            pruned=pruned,
            pattern=pattern,
            return_order=return_order,
            shuffle_seed=shuffle_seed,
            strategy=strategy,
            groups=groups,
        )
        self.schedule = schedule
        self._given = {"regrowth": regrowth, "strategy": strategy, "groups": groups}
        self.update = 0
        self.record: list[Switch] = []
        self._model, self._optimizer = unwrapped(model), optimizer
        self._rates = ScaledRates(optimizer, chain[-1], lr_scaling, max_lr_scale)
        self._state_loaded = False
        if groups:
            self._pruning = GroupedPruning(chain, self._settings, schedule, groups, strategy)
        else:
            self._pruning = pruning_of(chain, self._settings, schedule, strategy)
        self._attachment = Attachment(
            chain,
            Events(
                on_gradient=self._pruning.on_gradient,
                between_steps=self._between_steps,
                before_update=self._before_update,
                apply_rates=self._rates.apply,
                restore_rates=self._rates.restore,
                after_step=self._after_step,
                on_state_loaded=self._on_state_loaded,
            ),
        )
        if scores is not None:
            shapes = {name: score.shape for name, score in scores.items()}
            parameters = scored_parameters(self._model, optimizer, shapes)
            scores = {plain_name(name): score for name, score in scores.items()}
            sizes = {name: p.numel() for name, p in parameters.items()}
            if not groups:
                check_cap(self._settings, schedule.upcoming(0), sizes)
            self._attachment.require_free(parameters.values())
            self._pruning.parameters = parameters
        try:
            if scores is not None:
                if shuffle_seed is not None:
                    scores = shuffled(scores, shuffle_seed)
                self._pruning.prune_first(scores)
                self._record_switch()
                if pruned == "zero":
                    warn_of_dead_tensors(scores, self._pruning.pruned_counts())
            self._attach()
        except BaseException:
            self.detach()
            self._pruning.undo_first()
            raise

    def __repr__(self) -> str:
        total = sum(p.numel() for p in self._model.parameters())
        prunable = sum(p.numel() for p in self._pruning.parameters.values())
        switches = [(u, s) for u, s in self.schedule.milestones if u > self.update]
        coming = "next {1:g} at update {0}".format(*switches[0]) if switches else "no switch left"
        achieved = f" (achieved {self.record[-1].achieved:g})" if self.record else ""
        return (
            f"Sniper(update {self.update}, sparsity {self.sparsity:g}{achieved}, {coming}; "
            f"{prunable:,} of {total:,} weights prunable, {prunable / max(total, 1):.1%})"
        )

    @property
    def sparsity(self) -> float:
        """The schedule's present sparsity; with groups, of all of them together."""
        return self._pruning.sparsity(self.update)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings in the form that checkpoints hold."""
        return self._settings

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}."""
        return self._pruning.masks

    def learning_rates(self) -> dict[str, float]:
        """{parameter name: learning rate} in force, for everything that the optimizer holds."""
        rates = self._rates.in_force()
        return {name: rates[id(p)] for name, p in self._named() if id(p) in rates}

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((plain_name(name), p) for name, p in self._model.named_parameters())

    def detach(self) -> None:
        """Remove all hooks from the model and its optimizer; weights stay as they are."""
        self._attachment.detach()
        self._rates.restore()  # an exception inside a step leaves the scaled ones in place

    def apply_masks(self, model: nn.Module | None = None) -> None:
        """Zero the pruned weights of the model, or of a copy of it such as an average.

        Updates do so themselves. Call this after other changes of weights, such as copying slow
        weights into the model or loading a checkpoint.
        """
        weights = None
        if model is not None:
            model = unwrapped(model.module if isinstance(model, AveragedModel) else model)
            weights = {plain_name(name): p for name, p in model.named_parameters()}
        self._pruning.zero_weights(weights)

    def mask_gradients(self) -> None:
        """Zero the gradients of pruned weights.

        Backward passes and updates do so themselves. Call this before clipping gradients that
        have been set by hand.
        """
        for name in self._pruning.keep:
            self._pruning.zero_gradient(name)

    # ---- training

    def _attach(self) -> None:
        """Place hooks on the optimizer and on the parameters, if they have anything to do."""
        self.detach()
        parameters = self._pruning.parameters
        if not parameters or any(self._pruning.upcoming(self.update)):
            if parameters:
                require_equal_masks(self._pruning.keep)
            self._places = places_of(self._model, parameters)
            self._attachment.attach(parameters)

    def _between_steps(self) -> None:
        if not self._pruning.keep and not any(self._pruning.upcoming(self.update)):
            self.detach()  # not earlier, within a step, where torch iterates over the hooks

    def _before_update(self) -> None:
        if not self._pruning.parameters:
            raise RuntimeError("this Sniper was built without scores: call load_state_dict first")
        if any(values.get(key) is not value for values, key, value in self._places):
            require_in_place(self._model, self._pruning.parameters)
        self._pruning.forget_undo()
        self._pruning.warn_of_changes()
        if self._state_loaded:
            self._pruning.zero_states()
            self._state_loaded = False
        self._pruning.zero_gradients()

    def _on_state_loaded(self) -> None:
        self._state_loaded = True  # act at the next update: masks may be loaded after this state

    def _after_step(self, is_update: bool) -> None:
        self._pruning.zero_weights()
        if not is_update:
            return
        self.update += 1
        if self._pruning.switch(self.update):
            self._record_switch()

    def _record_switch(self) -> None:
        """Record the present sparsity, and set the learning rates that follow from it."""
        self.record.append(self._pruning.recorded(self._follow_rates()))

    def _follow_rates(self) -> Switch:
        """Set the learning rates that follow from the present masks; return their sparsity."""
        sizes = {name: p.numel() for name, p in self._pruning.parameters.items()}
        counts = self._pruning.pruned_counts()
        achieved = sum(counts.values()) / sum(sizes.values())
        tensors = {name: counts[name] / size for name, size in sizes.items()}
        present = Switch(self.update, self.sparsity, achieved, tensors)
        self._rates.follow(present, self._pruning.parameters)
        return present

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
            "rates": self._rates.state_dict({id(p): name for name, p in self._named()}),
            "record": [asdict(switch) for switch in self.record],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict()`, before or after model and optimizer load their states.

        Weights that construction has pruned are restored first, unless they have changed since.

        Raises:
            ValueError: a parameter does not fit, or a setting differs from the saved one.
        """
        changed = [
            f"{key} ({value} then, {self._settings.get(key)} now)"
            for key, value in plain(state["settings"]).items()
            if value != self._settings.get(key)
        ]
        if changed:
            raise ValueError(f"settings changed since the checkpoint: {', '.join(changed)}")
        self._pruning.parameters = scored_parameters(self._model, self._optimizer, state["shapes"])
        self._pruning.undo_first()
        self.update, self.record = state["update"], [Switch(**each) for each in state["record"]]
        self._pruning.load_state_dict(state)
        self._rates.load_state_dict(state["rates"], dict(self._named()))
        if self._settings["pruned"] == "trained":
            self._follow_rates()
        else:  # the record has the same, and needs no count, which would wait for the device
            self._rates.follow(self.record[-1], self._pruning.parameters)
        self._attach()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sniper":
        """Copy model and optimizer too, unless `memo` has their copies, and attach to them."""
        model, optimizer = copy.deepcopy((self._model, self._optimizer), memo)
        settings = {key: value for key, value in self._settings.items() if key != "schedule"}
        settings |= self._given
        twin = Sniper(model, optimizer, None, self.schedule, **settings)
        if self._pruning.parameters:
            twin.load_state_dict(copy.deepcopy(self.state_dict()))
        return twin

    def __getstate__(self) -> Any:
        raise TypeError("a Sniper is not pickled: save its state_dict()")
