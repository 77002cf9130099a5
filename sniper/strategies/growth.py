"""Strategies that move masks while the sparsity stays: drop some kept weights, grow others."""

import math
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from sniper.masks import Masks, count_of
from sniper.selection import lowest


@dataclass(frozen=True)
class View:
    """What a strategy decides by, right after an update; all by parameter name.

    Attributes:
        update: optimizer updates made so far.
        weights: after the update, pruned ones 0.
        masks: bool, True = kept.
        gradients: of the loss at this update for all weights, pruned ones too, before clipping and
            summed over processes, up to a common factor; empty unless `needs_gradients`.
    """

    update: int
    weights: dict[str, Tensor]
    masks: Masks
    gradients: dict[str, Tensor]


class Strategy:
    """The base of strategies: `masks` returns new masks at every `every`-th update before `until`.

    Weights that return do so at 0, unless the `Sniper` has `regrowth="init"`. A strategy has no
    state of its own: with equal views it returns equal masks, in all processes and after a resume.
    """

    every: int = 1
    until: int | None = None
    needs_gradients = False
    regrowth = "zero"

    def acts(self, update: int) -> bool:
        """Whether masks are moved right after this update."""
        return update % self.every == 0 and (self.until is None or update < self.until)

    def masks(self, view: View) -> Masks:
        """Return the masks from now on; names that are left out keep theirs."""
        raise NotImplementedError


@dataclass
class DropAndGrow(Strategy):
    """In each tensor, drop the kept weights of the smallest magnitude and grow as many others.

    A weight that has just been dropped may grow again, and then keeps its value.

    Attributes:
        every: updates between changes of the masks.
        until: the update from which masks stay as they are. The fraction falls to 0 until then,
            along half a cosine; without it the fraction is the same throughout.
        drop: the fraction of each tensor's kept weights to drop at first.
    """

    every: int = 100
    until: int | None = None
    drop: float = 0.3

    def __post_init__(self) -> None:
        if self.every < 1 or (self.until is not None and self.until < 1):
            raise ValueError(f"every and until are updates, 1 or more: {self}")
        if not 0 < self.drop <= 1:
            raise ValueError(f"drop is a fraction above 0 and up to 1, not {self.drop}")

    def fraction(self, update: int) -> float:
        """Return the fraction to drop after an update: drop / 2 · (1 + cos(π · update / until))."""
        if self.until is None:
            return self.drop
        return self.drop / 2 * (1 + math.cos(math.pi * update / self.until))

    def growth(self, view: View, name: str) -> Tensor:
        """Return how much each weight of a tensor is worth growing, in the tensor's shape."""
        raise NotImplementedError

    def masks(self, view: View) -> Masks:
        return {name: self._moved(view, name) for name in view.masks}

    def _moved(self, view: View, name: str) -> Tensor:
        mask = view.masks[name]
        count = count_of(self.fraction(view.update), int(mask.sum()))
        magnitudes = view.weights[name].abs().float().masked_fill(~mask, math.inf)
        kept = mask & ~lowest(magnitudes.flatten(), count).view_as(mask)
        worth = self.growth(view, name).float().nan_to_num(0.0, 0.0, 0.0)
        return kept | lowest(-worth.masked_fill(kept, -math.inf).flatten(), count).view_as(mask)


@dataclass
class RigL(DropAndGrow):
    """Grow where the gradient is largest (Evci et al. 2020, arXiv 1911.11134).

    The paper moves masks every 100 updates in the first three quarters of a training.
    """

    needs_gradients = True

    def growth(self, view: View, name: str) -> Tensor:
        return view.gradients[name].abs()


@dataclass
class SET(DropAndGrow):
    """Grow at random (Mocanu et al. 2018, arXiv 1707.04780).

    As in RigL's comparison, the smallest magnitudes are dropped; the paper counts positive and
    negative weights apart, and drops the same fraction after each epoch.
    """

    seed: int = 0

    def growth(self, view: View, name: str) -> Tensor:
        seed = zlib.crc32(f"{self.seed} {view.update} {name}".encode())
        random = torch.rand(view.masks[name].shape, generator=torch.Generator().manual_seed(seed))
        return random.to(view.masks[name].device)
