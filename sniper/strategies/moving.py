"""Masks that a strategy moves between the switches of the schedule."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sniper.bitmask import bitmask
from sniper.checks import require_equal_masks
from sniper.pruning import Pruning
from sniper.strategies.growth import Strategy, View


class MovingPruning(Pruning):
    """Asks a strategy for new masks, and keeps the gradients of pruned weights when it needs them.

    They are those of single updates: kept just before they are zeroed in `.grad`, where clipping
    and the optimizer would see them.
    """

    _keep_all_initial = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.strategy: Strategy = self._settings.strategy
        # Of the update that is coming: .grad, and the gradients of all weights until now.
        self._gradients: dict[str, tuple[Tensor, Tensor]] = {}
        self._watch(1)

    def _watch(self, update: int) -> None:
        self._gradients = {}
        self._watching = self.strategy.needs_gradients and self.strategy.acts(update)

    @torch.no_grad()
    def on_gradient(self, name: str, *_: Tensor) -> None:
        """Keep a gradient before the pruned part of it is zeroed."""
        gradient = self.parameters[name].grad
        if self._watching and self.keep and gradient is not None:
            dense = gradient.to_dense() if gradient.is_sparse else gradient.clone()
            former, sums = self._gradients.get(name, (None, dense))
            if former is gradient:  # more was added to it, where only the kept part is still there
                dense = torch.where(self.keep[name] != 0, dense, dense + sums)
            self._gradients[name] = gradient, dense
        super().on_gradient(name, *_)

    @torch.no_grad()
    def switch(self, update: int) -> bool:
        """Follow the schedule, or else the strategy."""
        changed = super().switch(update)
        if not changed and self.keep and self.strategy.acts(update):
            changed = self._move(update)
        self._watch(update + 1)
        return changed

    def _move(self, update: int) -> bool:
        """Take the strategy's masks over; return whether this changes a tensor's sparsity."""
        gradients = {}
        for name, p in self.parameters.items() if self._watching else ():
            gradients[name] = self._gradients[name][1] if name in self._gradients else p * 0
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(gradients[name])
        weights = {name: p.detach() for name, p in self.parameters.items()}
        masks = self.strategy.masks(View(update, weights, self.masks, gradients))
        wrong = [n for n, mask in masks.items() if mask.shape != weights[n].shape]
        if wrong or any(mask.dtype != torch.bool for mask in masks.values()):
            kind = type(self.strategy).__name__
            raise ValueError(
                f"{kind} has to return bool masks of the shapes of the weights: {wrong}"
            )
        counts = self.pruned_counts()
        for name, mask in masks.items():
            before, grown = self.keep[name], mask & (self.keep[name] == 0)
            self.keep[name] = bitmask(mask, self.parameters[name])
            self._clear(name, before)
            if self._initial:
                self._set(name, grown, self._initial[name][grown])
        require_equal_masks(self.keep)
        self._remember_versions()
        return self.pruned_counts() != counts

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the update of a checkpoint."""
        super().load_state_dict(state)
        self._watch(state["update"] + 1)
