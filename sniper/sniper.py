"""Sparse training inside an ordinary training loop."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from sniper.checks import places_of, require_equal_masks, require_in_place, warn_of_dead_tensors
from sniper.computed import computed_masks
from sniper.hooks import UpdateHooks
from sniper.layers import plain_name, unwrapped
from sniper.masks import Masks
from sniper.optimizers import chain_of, check_rates, warn_of_hidden_copies
from sniper.prunable import scored_parameters
from sniper.pruning import Pruning
from sniper.rates import ScaledRates
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores
from sniper.settings import SniperSettings, plain
from sniper.strategies.controls import FrozenPruning, UnmaskedPruning
from sniper.strategies.levels import shuffled
from sniper.strategies.moving import MovingPruning
from sniper.switch import Switch

Value = TypeVar("Value")
PRUNINGS = {"zero": Pruning, "frozen": FrozenPruning, "trained": UnmaskedPruning}


class Sniper(UpdateHooks):
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
        **settings: Any,
    ) -> None:
        """Attach to a model and its optimizer, and apply `schedule(0)` at once.

        Args:
            scores: {parameter name: score of its shape}; these parameters are the prunable ones.
                With None, construction waits for `load_state_dict`, so that a resumed training
                need not score again.
            schedule: a schedule, or {update: sparsity}, or a constant sparsity.
            settings: cap, lr_scaling, strategy and so on; see `SniperSettings`.

        Raises:
            ValueError: there are no scores, or a scored parameter is not in the model or not in the
                optimizer or differs in shape; a setting is out of its range or would be ignored; a
                sparsity cannot be reached under the cap; or another `Sniper` is attached.
            TypeError: a setting is unknown.
        """
        super().__init__(chain_of(optimizer))
        self._settings = SniperSettings(schedule=schedule, **settings)
        check_rates(self._chain[-1], self._settings.lr_scaling)
        self._saved_settings = self._settings.saved()
        self.schedule: SparsitySchedule = self._settings.schedule
        self.update = 0
        self.record: list[Switch] = []
        self._model, self._optimizer = unwrapped(model), optimizer
        self._rates = ScaledRates(
            optimizer, self._chain[-1], self._settings.lr_scaling, self._settings.max_lr_scale
        )
        self._state_loaded = False
        self._parts: list[Pruning] = []  # one for each group of parameters
        if scores is not None:
            scores = {plain_name(name): score for name, score in scores.items()}
            self._divide({name: score.shape for name, score in scores.items()})
        try:
            if scores is not None:
                self._prune_first(scores)
            self._attach()
        except BaseException:
            self.detach()
            for part in self._parts:
                part.undo_first()
            raise

    def _divide(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Take the parameters of these names and shapes, each in its group."""
        parameters = scored_parameters(self._model, self._optimizer, shapes)
        self._require_free(parameters.values())
        groups = self._settings.of_groups() | {"*": self._settings}
        members: dict[str, dict[str, nn.Parameter]] = {pattern: {} for pattern in groups}
        for name, parameter in parameters.items():
            pattern = next(each for each in groups if fnmatchcase(name, each))
            members[pattern][name] = parameter
        if empty := [each for each in self._settings.groups if not members[each]]:
            raise ValueError(f"no scored parameter is left for the groups {', '.join(empty)}")
        masks = set(computed_masks(self._model))
        self._parts = []
        for pattern, own in members.items():
            settings = groups[pattern]
            settings.check_cap({name: p.numel() for name, p in own.items()})
            if masks & own.keys() and (settings.strategy or settings.returns_at == "zero"):
                raise ValueError(
                    f"{', '.join(sorted(masks & own.keys()))}: computed weights return at what is "
                    "computed then, so they need regrowth='init' and no strategy"
                )
            if settings.strategy is not None:
                part: Pruning = MovingPruning(self._model, self._chain, settings, own)
            else:
                part = PRUNINGS[settings.pruned](self._model, self._chain, settings, own)
            self._parts += [part] if own else []

    def _prune_first(self, scores: Scores) -> None:
        if self._settings.shuffle_seed is not None:
            scores = shuffled(scores, self._settings.shuffle_seed)
        for part in self._parts:
            part.prune_first(scores)
        self._record_switch()
        if self._settings.pruned == "zero":
            warn_of_dead_tensors(scores, self._pruned_counts())

    def __repr__(self) -> str:
        total = sum(p.numel() for p in self._model.parameters())
        prunable = sum(p.numel() for p in self._parameters().values())
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
        if not self._settings.groups:
            return self.schedule(self.update)
        sizes = [sum(p.numel() for p in part.parameters.values()) for part in self._parts]
        levels = [part.schedule(self.update) for part in self._parts]
        return sum(n * s for n, s in zip(sizes, levels, strict=True)) / max(1, sum(sizes))

    @property
    def settings(self) -> dict[str, Any]:
        """All settings in the form that checkpoints hold."""
        return self._saved_settings

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}.

        Weights that something else than an update has changed are masked first.
        """
        for part in self._parts:
            part.follow_changes()
        return _merged(part.masks for part in self._parts)

    def learning_rates(self) -> dict[str, float]:
        """{parameter name: learning rate} in force, for everything that the optimizer holds."""
        rates = self._rates.in_force()
        return {name: rates[id(p)] for name, p in self._named() if id(p) in rates}

    def _named(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((plain_name(name), p) for name, p in self._model.named_parameters())

    def _parameters(self) -> dict[str, nn.Parameter]:
        return _merged(part.parameters for part in self._parts)

    def _keep(self) -> dict[str, Tensor]:
        return _merged(part.keep for part in self._parts)

    def _pruned_counts(self) -> dict[str, int]:
        return _merged(part.pruned_counts() for part in self._parts)

    def detach(self) -> None:
        """Remove all hooks from the model and its optimizer; weights stay as they are."""
        self._remove_hooks()
        self._restore_rates()  # an exception inside a step leaves the scaled ones in place

    def apply_masks(self, model: nn.Module | None = None) -> None:
        """Zero the pruned weights of the model, or of a copy of it such as an average.

        Updates do so themselves. Call this after other changes of weights, such as copying slow
        weights into the model or loading a checkpoint.
        """
        weights = None
        if model is not None:
            model = unwrapped(model.module if isinstance(model, AveragedModel) else model)
            weights = {plain_name(name): p for name, p in model.named_parameters()}
        for part in self._parts:
            part.zero_weights(weights)

    def mask_gradients(self) -> None:
        """Zero the gradients of pruned weights.

        Backward passes and updates do so themselves. Call this before clipping gradients that
        have been set by hand.
        """
        for part in self._parts:
            part.zero_gradients()

    # ---- training

    def _attach(self) -> None:
        """Place hooks on the optimizer and on the parameters, if they have anything to do."""
        self.detach()
        if self._parts and not self._is_needed():
            return
        if self._parts:
            require_equal_masks(self._keep())
        self._places = places_of(self._model, self._parameters())
        self._place_hooks(
            [
                (parameter, partial(part.on_gradient, name))
                for part in self._parts
                for name, parameter in part.parameters.items()
            ]
        )

    def _is_needed(self) -> bool:
        return any(any(part.schedule.upcoming(self.update)) for part in self._parts)

    def _between_steps(self) -> None:
        if self._parts and not any(part.keep for part in self._parts) and not self._is_needed():
            self.detach()  # not earlier, within a step, where torch iterates over the hooks

    def _before_update(self) -> None:
        if not self._parts:
            raise RuntimeError("this Sniper was built without scores: call load_state_dict first")
        if any(values.get(key) is not value for values, key, value in self._places):
            require_in_place(self._model, self._parameters())
        for part in self._parts:
            part.before_update(self._state_loaded)
        self._state_loaded = False

    def _apply_rates(self) -> None:
        self._rates.apply()

    def _restore_rates(self, *_: Any, after_update: bool = False, failed: bool = False) -> None:
        self._rates.restore(after_update, failed)

    def _on_state_loaded(self, *_: Any) -> None:
        self._state_loaded = True  # act at the next update: masks may be loaded after this state

    def _after_step(self, is_update: bool) -> None:
        for part in self._parts:
            part.after_step()
        if is_update:
            self.update += 1
            if any([part.switch(self.update) for part in self._parts]):
                self._record_switch()

    def _record_switch(self) -> None:
        """Record the present sparsity, and set the learning rates that follow from it."""
        self.record.append(self._parts[0].recorded(self._follow_rates()))
        if self._settings.pruned != "trained":
            warn_of_hidden_copies(self._chain, list(self._parameters().values()))

    def _follow_rates(self) -> Switch:
        """Set the learning rates that follow from the present masks; return their sparsity."""
        parameters, counts = self._parameters(), self._pruned_counts()
        sizes = {name: p.numel() for name, p in parameters.items()}
        achieved = sum(counts.values()) / sum(sizes.values())
        tensors = {name: counts[name] / size for name, size in sizes.items()}
        present = Switch(self.update, self.sparsity, achieved, tensors)
        self._rates.follow(present, parameters)
        return present

    # ---- resuming

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to resume, as plain types and tensors.

        Raises:
            RuntimeError: construction without scores is still waiting for `load_state_dict`.
        """
        if not self._parts:
            raise RuntimeError("this Sniper was built without scores and has no state yet")
        for part in self._parts:
            part.follow_changes()
        states = [part.state_dict() for part in self._parts]
        return {
            "update": self.update,
            "settings": dict(self._saved_settings),
            "shapes": {name: list(p.shape) for name, p in self._parameters().items()},
            **{key: _merged(state[key] for state in states) for key in states[0]},
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
            f"{key} ({value} then, {self._saved_settings.get(key)} now)"
            for key, value in plain(state["settings"]).items()
            if value != self._saved_settings.get(key)
        ]
        if changed:
            raise ValueError(f"settings changed since the checkpoint: {', '.join(changed)}")
        former = self._parts
        self._divide(state["shapes"])
        for part in former:
            part.undo_first()
        self.update, self.record = state["update"], [Switch(**each) for each in state["record"]]
        for part in self._parts:
            part.load_state_dict(state)
        self._rates.load_state_dict(state["rates"], dict(self._named()))
        if self._settings.pruned == "trained":
            self._follow_rates()
        else:  # the record has the same, and needs no count, which would wait for the device
            self._rates.follow(self.record[-1], self._parameters())
        self._attach()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sniper":
        """Copy model and optimizer too, unless `memo` has their copies, and attach to them."""
        model, optimizer = copy.deepcopy((self._model, self._optimizer), memo)
        twin = Sniper(model, optimizer, None, **vars(self._settings))
        if self._parts:
            twin.load_state_dict(copy.deepcopy(self.state_dict()))
        return twin

    def __getstate__(self) -> Any:
        raise TypeError("a Sniper is not pickled: save its state_dict()")


def _merged(dicts: Iterable[Mapping[str, Value]]) -> dict[str, Value]:
    return {name: value for each in dicts for name, value in each.items()}
