"""Other fates of pruned weights, which controls for studies need."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from sniper.bitmask import zero_pruned
from sniper.masks import Masks
from sniper.optimizers import states_of
from sniper.pruning import Pruning
from sniper.switch import Switch


class FrozenPruning(Pruning):
    """Pruned weights stay at their initial values, which `_initial` holds for all weights."""

    _keep_all_initial = True

    def _restore(self, name: str, weight: Tensor) -> None:
        keep, initial = (each[name].to(weight.device) for each in (self.keep, self._initial))
        weight.copy_(torch.where(keep != 0, weight, initial.to(weight.dtype)))

    def _clear(self, name: str, before: Tensor | None, undoable: bool = False) -> None:
        super()._clear(name, before, undoable)
        for each in (self.parameters[name], *self._copies(name)):
            self._restore(name, each)

    def _copies(self, name: str) -> list[Tensor]:
        states = states_of(self._chain, self.parameters[name])
        return [state for kind, state in states if kind == "copy"]

    @torch.no_grad()
    def zero_weights(self, weights: Mapping[str, Tensor] | None = None) -> None:
        """Give pruned weights their initial values, and no moments, which weight decay makes."""
        for name in self.keep:
            self._restore(name, (self.parameters if weights is None else weights)[name])
        if weights is None:
            self.zero_states()
            self._remember_versions()

    @torch.no_grad()
    def zero_states(self) -> None:
        """Zero the moments of pruned weights."""
        for name, keep in self.keep.items():
            for state in self._known_states(self.parameters[name]):
                zero_pruned(state, keep)
            for copy in self._copies(name):
                self._restore(name, copy)

    def _disturbed(self, name: str) -> bool:
        weight, initial = self.parameters[name].detach(), self._initial[name]
        return bool((weight != initial)[self.keep[name] == 0].any())


class UnmaskedPruning(Pruning):
    """Pruned weights are trained like all others: nothing follows from masks but learning rates."""

    @property
    def masks(self) -> Masks:
        """{parameter name: bool tensor}, True throughout."""
        return {n: torch.ones_like(p, dtype=torch.bool) for n, p in self.parameters.items()}

    def recorded(self, switch: Switch) -> Switch:
        """Record that nothing is masked."""
        return replace(switch, achieved=0.0, tensors=dict.fromkeys(switch.tensors, 0.0))

    def _nothing(self, *_: object, **__: object) -> None:
        """Leave weights, gradients and states alone."""

    after_step = follow_changes = zero_gradient = zero_gradients = _nothing
    zero_weights = zero_states = _clear = _set = _nothing
