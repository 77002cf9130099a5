"""Which weights are pruned now, and when and at what value each of them returns."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.bitmask import bitmask, pack, unpack, zero_pruned
from sniper.computed import magnitudes
from sniper.masks import Masks
from sniper.optimizers import states_of
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores
from sniper.settings import SniperSettings
from sniper.strategies.levels import levels_as_set
from sniper.switch import Switch


class Pruning:
    """The masks of a model, applied to its weights and to what the optimizer holds for them.

    Sparsity may fall several times before it rises again. The masks of these falls are nested, so
    each pruned weight has one fall at which it returns, which is settled when it is pruned.

    Attributes:
        keep: {parameter name: bit mask, see `bitmask`}; empty while nothing is pruned.
        falls_until_return: {parameter name: one integer for each pruned weight, in order}: 1 for
            a weight that returns at the next fall of sparsity, 2 for the fall after that, and so
            on. Empty if no weight returns before the next rise.
    """

    _keep_all_initial = False  # in kinds of pruning that need the initial value of every weight

    def __init__(
        self,
        model: nn.Module,
        chain: Sequence[Optimizer],
        settings: SniperSettings,
        parameters: dict[str, nn.Parameter],
    ) -> None:
        """
        Args:
            chain: the optimizer and those that it wraps.
            parameters: of the model, those to prune, by name.
        """
        self.schedule: SparsitySchedule = settings.schedule
        self.parameters = parameters
        self.keep: dict[str, Tensor] = {}
        self.falls_until_return: dict[str, Tensor] = {}
        # The initial value of each pruned weight, in order, or of all weights in
        # their own shape if any of them may have to return.
        self._initial: dict[str, Tensor] = {}
        self._model, self._chain, self._settings = model, chain, settings
        self._regrow_at_initial = settings.returns_at == "init"
        # Whether a weight that is not pruned at first may be pruned later and return.
        self._regrow_anywhere = self.schedule.falls_after_rise or self._keep_all_initial
        # What construction has zeroed: tensor, where, former values, and the tensor's version.
        self._undo: list[tuple[Tensor, Tensor, Tensor, int]] = []
        self._unknown: set[str] = set()  # states of the optimizer that were warned of
        self._versions: dict[str, int] = {}  # of the weights when they were last zeroed
        self._looks = 100  # into changed weights, until it is left at that
        # Whether updates leave something in the states of pruned weights. torch's own do not.
        own = all(type(each).__module__.startswith("torch.optim.") for each in chain)
        self._leaks: bool | None = False if own else None

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor, True = kept}."""
        return {
            name: self.keep[name].bool() if self.keep else torch.ones_like(p, dtype=torch.bool)
            for name, p in self.parameters.items()
        }

    def pruned_counts(self) -> dict[str, int]:
        """{parameter name: number of pruned weights}."""
        return {
            name: int((self.keep[name] == 0).sum()) if self.keep else 0 for name in self.parameters
        }

    def recorded(self, switch: Switch) -> Switch:
        """Return what is recorded of a switch."""
        return switch

    # ---- switches of sparsity

    @torch.no_grad()
    def prune_first(self, scores: Scores) -> None:
        """Prune by scores, before training; `undo_first` can take this back."""
        if self._regrow_at_initial and self._regrow_anywhere:
            self._initial = {name: p.detach().clone() for name, p in self.parameters.items()}
        if self.schedule(0):
            self._prune(scores, self.schedule.until_rise(0), undoable=True)

    def switch(self, update: int) -> bool:
        """Follow the schedule right after an update; return whether the sparsity has changed."""
        if not self.schedule.changes_at(update):
            return False
        if self.schedule(update) > self.schedule(update - 1):
            self.prune_more(self.schedule.until_rise(update))
        else:
            self.regrow()
        self._free_unneeded(update)
        return True

    @torch.no_grad()
    def prune_more(self, sparsities: Sequence[float]) -> None:
        """Prune the smallest kept weights by magnitude, beside what is pruned already."""
        ranking = magnitudes(self._model, self.parameters)
        for name, keep in self.keep.items():
            # Rank pruned weights below all kept ones, and those lowest that were to return last.
            falls = self.falls_until_return.get(name, torch.ones((), device=keep.device))
            ranking[name][keep == 0] = -falls.to(ranking[name].dtype)
        self._prune(ranking, sparsities)
        self._remember_versions()

    def _prune(self, ranking: Scores, sparsities: Sequence[float], undoable: bool = False) -> None:
        """Prune the lowest ranked to `sparsities[0]`; they return at the falls that follow it."""
        parameters = self.parameters
        # Saved scores are on the CPU. Masks are computed and kept where the weights are.
        ranking = {name: ranking[name].to(p.device) for name, p in parameters.items()}
        levels = levels_as_set(self._settings, ranking, sparsities)
        pruned = {name: level > 0 for name, level in levels.items()}
        before = self.keep
        self.keep = {name: bitmask(~gone, parameters[name]) for name, gone in pruned.items()}
        if len(sparsities) > 1:
            self.falls_until_return = {n: level[pruned[n]] for n, level in levels.items()}
            if self._regrow_at_initial and not self._regrow_anywhere:
                self._initial = {n: p.detach()[pruned[n]] for n, p in parameters.items()}
        for name in parameters:
            self._clear(name, before.get(name), undoable)

    def _clear(self, name: str, before: Tensor | None, undoable: bool = False) -> None:
        """Zero the pruned weights of a tensor, and what the optimizer holds for them.

        Args:
            before: the bit mask until now; None if nothing was pruned.
        """
        parameter, keep = self.parameters[name], self.keep[name]
        tensors = [parameter, *self._known_states(parameter)]
        if undoable:
            pruned = keep == 0
            values = [tensor[pruned] for tensor in tensors]
        for tensor in tensors:
            zero_pruned(tensor, keep)
        if undoable:
            self._undo += [
                (tensor, pruned, value, tensor._version)
                for tensor, value in zip(tensors, values, strict=True)
            ]
        self._prune_unknown_states(name, before)

    def _prune_unknown_states(self, name: str, before: Tensor | None) -> None:
        """Set states whose meaning is unknown to what they are where weights are pruned already.

        That is the state of a weight that has no gradient: 0 for most states, but a code for 0
        where moments are quantised. Where no weight is pruned yet, such states stay as they are.
        """
        pruned = self.keep[name] == 0
        for kind, state in states_of(self._chain, self.parameters[name]):
            if hasattr(state, "dequantize") and type(state) is not Tensor:
                values = state.dequantize()
                zero_pruned(values, self.keep[name])
                state.copy_(values)
            elif kind.startswith("unknown"):
                known = state[before == 0] if before is not None else state[:0]
                if known.numel() and bool((known == known[0]).all()):
                    state[pruned] = known[0]
                elif kind not in self._unknown:
                    self._unknown.add(kind)
                    warnings.warn(
                        f"{kind.removeprefix('unknown: ')} is left as it is where weights are "
                        "pruned, since it is not known whether it is a moment: say so by "
                        "sniper.register_optimizer",
                        stacklevel=2,
                    )

    @torch.no_grad()
    def regrow(self) -> None:
        """Let the weights return whose fall of sparsity this is."""
        self.zero_states()  # in case that gradients were edited where torch does not see it
        for name in self.parameters:
            self._regrow(name)
        self._remember_versions()

    def _regrow(self, name: str) -> None:
        falls, keep = self.falls_until_return[name], self.keep[name]
        returning = falls == 1
        regrown = torch.zeros_like(keep, dtype=torch.bool)
        regrown[keep == 0] = returning
        if self._initial:
            initial, whole = self._initial[name], self._regrow_anywhere
            self._set(name, regrown, initial[regrown if whole else returning])
            self._initial[name] = initial if whole else initial[~returning]
        keep[regrown] = -1
        self.falls_until_return[name] = falls[~returning] - 1

    def _set(self, name: str, regrown: Tensor, values: Tensor) -> None:
        """Give weights that return their values, in the model and in the optimizer's copies."""
        parameter = self.parameters[name]
        parameter[regrown] = values.to(parameter.dtype)
        for kind, state in states_of(self._chain, parameter):
            if kind == "copy":  # or it would draw the weight back to 0
                state[regrown] = parameter[regrown].to(state.dtype)

    def _free_unneeded(self, update: int) -> None:
        """Free what the schedule does not need any more after this many updates."""
        schedule = self.schedule
        if schedule(update) == 0:
            self.keep = {}
        if len(schedule.until_rise(update)) == 1:
            self.falls_until_return = {}
        if len(schedule.upcoming(update)) == 1 and not (self._keep_all_initial and self.keep):
            self._initial = {}

    # ---- masks in force

    def after_step(self) -> None:
        """Zero what the optimizer has made of pruned weights and, if it does so, of their states.

        Some centralise gradients or mix those of several weights, for example.
        """
        self.zero_weights()
        if self._leaks is None and self.keep:
            states = ((s, n) for n, p in self.parameters.items() for s in self._known_states(p))
            self._leaks = any(bool(state[self.keep[name] == 0].any()) for state, name in states)
        if self._leaks:
            self.zero_states()

    def before_update(self, state_loaded: bool) -> None:
        """Zero what has come of pruned weights since the last update.

        Args:
            state_loaded: whether the optimizer has loaded a state since.
        """
        self._undo = []  # training has begun
        self.follow_changes()
        if state_loaded:
            self.zero_states()
        self.zero_gradients()

    def on_gradient(self, name: str, _: Tensor | None = None) -> None:
        """Zero the gradient of the pruned weights of one tensor when some has come."""
        self.zero_gradient(name)

    def zero_gradient(self, name: str) -> None:
        """Zero the gradient of the pruned weights of one tensor."""
        gradient, keep = self.parameters[name].grad, self.keep.get(name)
        if gradient is None or keep is None:
            return
        if keep.device != gradient.device:
            self._follow_device(name)
            keep = self.keep[name]
        zero_pruned(gradient, keep)

    def zero_gradients(self) -> None:
        """Zero the gradients of all pruned weights.

        Some may have been set or edited since they came, and torch does not tell of edits through
        `.grad.data`.
        """
        for name in self.keep:
            self.zero_gradient(name)

    @torch.no_grad()
    def zero_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Zero the pruned weights, of the model or of others of the same names."""
        for name, keep in self.keep.items():
            weight = (self.parameters if weights is None else weights)[name]
            zero_pruned(weight, keep.to(weight.device))
        if weights is None:
            self._remember_versions()

    def _remember_versions(self) -> None:
        self._versions = {name: self.parameters[name]._version for name in self.keep}

    def follow_changes(self) -> None:
        """Zero pruned weights that something else than updates has changed, such as a copy.

        A warning tells of the first such change.
        """
        then = self._versions
        changed = [n for n in self.keep if n in then and self.parameters[n]._version != then[n]]
        if not changed:
            return
        if self._looks:
            self._looks -= 1  # looking takes time, and most changes are harmless
            if disturbed := next(filter(self._disturbed, changed), None):
                self._looks = 0
                warnings.warn(
                    f"pruned weights of {disturbed} were changed outside of updates: call "
                    "apply_masks() right after such a change, or the model is not sparse until the "
                    "next update",
                    stacklevel=2,
                )
        self.zero_weights()

    def _disturbed(self, name: str) -> bool:
        return bool(self.parameters[name].detach()[self.keep[name] == 0].any())

    @torch.no_grad()
    def zero_states(self) -> None:
        """Zero the moments of pruned weights, and the optimizer's copies of these weights."""
        for name, keep in self.keep.items():
            for state in self._known_states(self.parameters[name]):
                zero_pruned(state, keep)

    def _known_states(self, parameter: nn.Parameter) -> list[Tensor]:
        return [
            state
            for kind, state in states_of(self._chain, parameter)
            if kind in ("moment", "copy") and type(state) is Tensor
        ]

    def _follow_device(self, name: str) -> None:
        """Follow a weight that has moved to another device."""
        for tensors in (self.keep, self.falls_until_return, self._initial):
            if name in tensors:
                tensors[name] = tensors[name].to(self.parameters[name].device)

    # ---- resuming

    @torch.no_grad()
    def undo_first(self) -> None:
        """Put back what `prune_first` zeroed, where nothing else has changed the tensor since."""
        for tensor, pruned, values, version in self._undo:
            if tensor._version == version and not tensor[pruned].any():
                tensor[pruned] = values
        self._undo = []

    def state_dict(self) -> dict[str, Any]:
        """Masks, packed into bits, and what returns when."""
        return {
            "masks": {name: pack(keep) for name, keep in self.keep.items()},
            "falls_until_return": dict(self.falls_until_return),
            "initial": dict(self._initial),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the masks of `state_dict()` and prune the weights; moments are not touched."""
        self.falls_until_return, self._initial = (
            {n: state[kind][n].to(p.device) for n, p in self.parameters.items() if n in state[kind]}
            for kind in ("falls_until_return", "initial")
        )
        masks = state["masks"]
        self.keep = {n: unpack(masks[n], p) for n, p in self.parameters.items() if n in masks}
        self.zero_weights()
