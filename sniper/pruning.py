"""Which weights are pruned now, and when and at what value each of them returns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sniper.bitmask import bitmask, pack, unpack, zero_pruned
from sniper.masks import Masks
from sniper.schedule import SparsitySchedule
from sniper.scores import Scores


class Pruning:
    """The masks of a model, applied to its weights and to their moments in the optimizer.

    Sparsity may fall several times before it rises again. The masks of these falls are nested, so
    each pruned weight has one fall at which it returns, which is settled when it is pruned.

    Attributes:
        keep: {parameter name: bit mask, see `bitmask`}; empty while nothing is pruned.
        falls_until_return: {parameter name: one integer for each pruned weight, in order}: 1 for
            a weight that returns at the next fall of sparsity, 2 for the fall after that, and so
            on. Empty if no weight returns before the next rise.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        masks_at: Callable[[Scores, float], Masks],
        regrow_at_initial: bool,
        regrow_anywhere: bool,
    ) -> None:
        """
        Args:
            masks_at: `masks_at(scores, sparsity)` returns the masks of that sparsity.
            regrow_at_initial: weights return at their initial values, rather than at 0.
            regrow_anywhere: a weight that is not pruned at first may be pruned later and return.
        """
        self.parameters: dict[str, nn.Parameter] = {}
        self.keep: dict[str, Tensor] = {}
        self.falls_until_return: dict[str, Tensor] = {}
        # The initial value of each pruned weight, in order, or of all weights in
        # their own shape if any of them may have to return.
        self._initial: dict[str, Tensor] = {}
        self._optimizer = optimizer
        self._masks_at = masks_at
        self._regrow_at_initial, self._regrow_anywhere = regrow_at_initial, regrow_anywhere
        # What construction has zeroed: tensor, where, former values, and the tensor's version.
        self._undo: list[tuple[Tensor, Tensor, Tensor, int]] = []

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

    # ---- switches of sparsity

    @torch.no_grad()
    def prune_first(self, scores: Scores, sparsities: Sequence[float]) -> None:
        """Prune by scores, before training; `undo_first` can take this back."""
        if self._regrow_at_initial and self._regrow_anywhere:
            self._initial = {name: p.detach().clone() for name, p in self.parameters.items()}
        if sparsities[0]:
            self._prune(scores, sparsities, undoable=True)

    @torch.no_grad()
    def prune_more(self, sparsities: Sequence[float]) -> None:
        """Prune the smallest kept weights by magnitude, beside what is pruned already."""
        ranking = {name: p.detach().abs() for name, p in self.parameters.items()}
        for name, keep in self.keep.items():
            # Rank pruned weights below all kept ones, and those lowest that were to return last.
            falls = self.falls_until_return.get(name, torch.ones((), device=keep.device))
            ranking[name][keep == 0] = -falls.to(ranking[name].dtype)
        self._prune(ranking, sparsities)

    def _prune(self, ranking: Scores, sparsities: Sequence[float], undoable: bool = False) -> None:
        """Prune the lowest ranked to `sparsities[0]`; they return at the falls that follow it."""
        parameters = self.parameters
        # Saved scores are on the CPU. Masks are computed and kept where the weights are.
        ranking = {name: ranking[name].to(p.device) for name, p in parameters.items()}
        pruned = {name: ~mask for name, mask in self._masks_at(ranking, sparsities[0]).items()}
        self.keep = {name: bitmask(~gone, parameters[name]) for name, gone in pruned.items()}
        if len(sparsities) > 1:
            dtype = torch.uint8 if len(sparsities) < 256 else torch.int32
            for name, gone in pruned.items():
                count = int(gone.sum())
                self.falls_until_return[name] = torch.ones(count, dtype=dtype, device=gone.device)
            for sparsity in sparsities[1:]:
                for name, mask in self._masks_at(ranking, sparsity).items():
                    self.falls_until_return[name] += ~mask[pruned[name]]
            if self._regrow_at_initial and not self._regrow_anywhere:
                self._initial = {n: p.detach()[pruned[n]] for n, p in parameters.items()}
        for name, parameter in parameters.items():
            for tensor in self._weight_and_moments(parameter):
                if undoable:
                    values = tensor[pruned[name]]
                zero_pruned(tensor, self.keep[name])
                if undoable:
                    self._undo.append((tensor, pruned[name], values, tensor._version))

    @torch.no_grad()
    def regrow(self) -> None:
        """Let the weights return whose fall of sparsity this is."""
        for name in self.parameters:
            self._regrow(name)

    def _regrow(self, name: str) -> None:
        falls, keep, parameter = (
            each[name] for each in (self.falls_until_return, self.keep, self.parameters)
        )
        returning = falls == 1
        regrown = torch.zeros_like(keep, dtype=torch.bool)
        regrown[keep == 0] = returning
        if self._initial:
            initial, whole = self._initial[name], self._regrow_anywhere
            parameter[regrown] = initial[regrown if whole else returning]
            self._initial[name] = initial if whole else initial[~returning]
        keep[regrown] = -1
        self.falls_until_return[name] = falls[~returning] - 1

    def free_unneeded(self, schedule: SparsitySchedule, update: int) -> None:
        """Free what the schedule does not need any more after this many updates."""
        if schedule(update) == 0:
            self.keep = {}
        if len(schedule.until_rise(update)) == 1:
            self.falls_until_return = {}
        if len(schedule.upcoming(update)) == 1:
            self._initial = {}

    # ---- masks in force

    @torch.no_grad()
    def zero_gradient(self, name: str) -> None:
        """Zero the gradient of the pruned weights of one tensor."""
        gradient = self.parameters[name].grad
        if gradient is not None and name in self.keep:
            zero_pruned(gradient, self.keep[name])

    @torch.no_grad()
    def zero_weights(self) -> None:
        """Zero the pruned weights."""
        for name, keep in self.keep.items():
            zero_pruned(self.parameters[name], keep)

    def _weight_and_moments(self, parameter: nn.Parameter) -> list[Tensor]:
        state = self._optimizer.state.get(parameter, {}).values()
        moments = [v for v in state if torch.is_tensor(v) and v.shape == parameter.shape]
        return [parameter, *moments]

    # ---- resuming

    def forget_undo(self) -> None:
        """Give up what `undo_first` would put back: training has begun."""
        self._undo = []

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
        """Take over the masks of `state_dict()` and apply them."""
        self.falls_until_return, self._initial = (
            {name: values.to(self.parameters[name].device) for name, values in state[part].items()}
            for part in ("falls_until_return", "initial")
        )
        self.keep = {name: unpack(m, self.parameters[name]) for name, m in state["masks"].items()}
        for name, keep in self.keep.items():
            for tensor in self._weight_and_moments(self.parameters[name]):
                zero_pruned(tensor, keep)
