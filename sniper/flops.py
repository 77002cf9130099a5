"""Theoretical floating-point operations of a masked model: torch's counter, and densities.

A multiplication and an addition count as two operations. What no weight takes part in, such as the
products within attention, is not made sparser by masks.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sniper.layers import plain_name, unwrapped
from sniper.scores import left_as_found
from sniper.strategies.growth import Strategy
from sniper.switch import Switch


@dataclass(frozen=True)
class Flops:
    """The operations of one forward pass.

    Attributes:
        weights: {parameter name: operations that it takes part in}, for all parameters.
        other: operations without parameters.
    """

    weights: dict[str, int]
    other: int

    def forward(self, tensors: Mapping[str, float] | None = None) -> float:
        """Return the operations of a forward pass at these sparsities (`Switch.tensors`)."""
        sparsities = tensors or {}
        dense = [(1 - sparsities.get(name, 0.0)) * n for name, n in self.weights.items()]
        return sum(dense) + self.other

    def update(self, tensors: Mapping[str, float] | None = None, pruned: str = "zero") -> float:
        """Return the operations of a forward and a backward pass, which costs twice as much.

        One half of the backward pass computes gradients of activations, the other those of weights.
        Weights that are `"frozen"` only save the latter.
        """
        if pruned == "frozen":
            return 2 * self.forward() + self.forward(tensors)
        return 3 * self.forward(tensors)

    def training(
        self,
        record: Sequence[Switch],
        updates: int,
        pruned: str = "zero",
        strategy: Strategy | None = None,
    ) -> float:
        """Return the operations of a training, one such batch for each update.

        Args:
            record: of its `Sniper`; empty if it was dense.
            updates: of the whole training.
            strategy: where it needs gradients of all weights, their computation is dense.
        """
        ends = [*((s.update, s.tensors) for s in record if s.update < updates), (updates, {})]
        total = ends[0][0] * self.update()
        for (start, tensors), (end, _) in pairwise(ends):
            total += (end - start) * self.update(tensors, pruned)
            if strategy is not None and strategy.needs_gradients:
                moves = sum(strategy.acts(update) for update in range(start + 1, end + 1))
                total += moves * (self.forward() - self.forward(tensors))
        return total


def count_flops(model: nn.Module, run: Callable[[nn.Module], Any]) -> Flops:
    """Count the operations of `run(model)`, without gradients. The model is left as it was.

    Weights count where they, or copies of them alone, are multiplied: not by operations that torch
    does not count, such as fused recurrent layers. A warning names weights of several dimensions of
    which nothing was counted.
    """
    model = unwrapped(model)
    parameters = {plain_name(name): p for name, p in model.named_parameters()}
    with left_as_found(model), torch.no_grad(), _CounterByWeight(parameters) as counter:
        run(model)
    unseen = [n for n, p in parameters.items() if p.dim() > 1 and not counter.weights[n]]
    if unseen:
        warnings.warn(f"no operations were counted for {', '.join(unseen)}", stacklevel=2)
    return Flops(counter.weights, counter.get_total_flops() - sum(counter.weights.values()))


class _CounterByWeight(FlopCounterMode):
    """Counts by the parameter in whose memory an operand lies, or of which it is a copy.

    Weights that are joined before their use, as queries, keys and values are, have their shares.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        super().__init__(display=False)
        self.weights = dict.fromkeys(parameters, 0)
        # Tensors and whose values they have. They are kept, so that their memory is not used again.
        self._known = [(p, {name: p.numel()}) for name, p in parameters.items()]

    def _owners(self, tensor: Tensor) -> dict[str, int]:
        address = tensor.data_ptr()
        owned = (o for t, o in self._known if 0 <= address - t.data_ptr() < max(1, t.nbytes))
        return next(owned, {})

    def _count_flops(self, func_packet: Any, out: Any, args: Any, kwargs: Any) -> Any:
        before = self.get_total_flops()
        result = super()._count_flops(func_packet, out, args, kwargs)
        operands = [each for each in tree_leaves(args) if isinstance(each, Tensor)]
        owners = [self._owners(each) for each in operands]
        if count := self.get_total_flops() - before:
            # Beside a weight, there may be its bias.
            owner = max(owners, key=lambda sizes: sum(sizes.values()))
            for name, size in owner.items():
                self.weights[name] += count * size // sum(owner.values())
        elif owners and all(owners) and isinstance(out, Tensor) and not self._owners(out):
            self._known.append((out, {n: size for sizes in owners for n, size in sizes.items()}))
        return result
