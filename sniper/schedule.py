"""Sparsity as a function of the number of optimizer updates made so far."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any


class SparsitySchedule:
    """A step function from optimizer updates to sparsity, given by the updates where it changes.

    `schedule(u)` is the sparsity of the model after u updates: the switch at milestone u takes
    place right after the u-th update, and that at 0 before the first.

    Attributes:
        milestones: the changes, as pairs of update and sparsity.
    """

    def __init__(self, milestones: Mapping[int, float]) -> None:
        """`milestones` is {update: sparsity as a fraction}; it has to say the sparsity at 0.

        Raises:
            ValueError: no update 0, a negative or fractional update, or no fraction of 0 to 1.
        """
        for update, sparsity in milestones.items():
            if update != int(update) or update < 0:
                raise ValueError(f"a milestone is a number of updates (0, 1, ...), not {update!r}")
            if not 0 <= sparsity <= 1:
                raise ValueError(f"sparsity is a fraction between 0 and 1, not {sparsity!r}")
        if 0 not in milestones:
            raise ValueError("a schedule has to say the sparsity at update 0")
        given = sorted((int(update), float(sparsity)) for update, sparsity in milestones.items())
        changes = [then for now, then in pairwise(given) if then[1] != now[1]]
        self.milestones: list[tuple[int, float]] = [given[0], *changes]

    @classmethod
    def steps(cls, milestones: Mapping[int, float]) -> "SparsitySchedule":
        """{update: sparsity}, for instance the paper's {0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0.0}."""
        return cls(milestones)

    @classmethod
    def constant(cls, sparsity: float) -> "SparsitySchedule":
        """The same sparsity for ever."""
        return cls({0: sparsity})

    @classmethod
    def linear(cls, start: float, end: float, updates: int, **when: Any) -> "SparsitySchedule":
        """From `start` to `end` in a straight line of `updates` updates.

        `begin` updates may come first, and `every` says after how many updates masks change
        (unless given, they change about a hundred times).
        """
        return cls._smooth(lambda t: t, start, end, updates, **when)

    @classmethod
    def cosine(cls, start: float, end: float, updates: int, **when: Any) -> "SparsitySchedule":
        """As `linear`, along half a cosine: slow at both ends."""
        return cls._smooth(lambda t: (1 - math.cos(math.pi * t)) / 2, start, end, updates, **when)

    @classmethod
    def cubic(cls, start: float, end: float, updates: int, **when: Any) -> "SparsitySchedule":
        """As `linear`, fast at first: gradual pruning (Zhu and Gupta 2017, arXiv 1710.01878)."""
        return cls._smooth(lambda t: 1 - (1 - t) ** 3, start, end, updates, **when)

    @classmethod
    def _smooth(
        cls,
        curve: Callable[[float], float],
        start: float,
        end: float,
        updates: int,
        begin: int = 0,
        every: int | None = None,
    ) -> "SparsitySchedule":
        positions = range(0, updates, every or max(1, updates // 100))
        levels = {begin + u: start + (end - start) * curve(u / updates) for u in positions}
        return cls({0: start} | levels | {begin + updates: end})

    def __call__(self, update: int) -> float:
        """Sparsity after `update` updates."""
        return self.milestones[bisect_right(self.milestones, (update, math.inf)) - 1][1]

    def ahead(self, update: int) -> list[float]:
        """The sparsity after `update` updates and each that follows it."""
        return [self(update)] + [s for milestone, s in self.milestones if milestone > update]

    def falls(self, update: int) -> list[float]:
        """As `ahead`, up to where sparsity rises next."""
        ahead = self.ahead(update)
        rises = (i for i, (now, then) in enumerate(pairwise(ahead), start=1) if then > now)
        return ahead[: next(rises, None)]

    @property
    def falls_after_a_rise(self) -> bool:
        """Whether a later switch may bring back what an earlier one took."""
        risen = self.ahead(0)[len(self.falls(0)) :]
        return any(then < now for now, then in pairwise(risen))

    @property
    def is_dense(self) -> bool:
        """Whether the sparsity is 0 throughout."""
        return not any(self.ahead(0))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparsitySchedule) and self.milestones == other.milestones

    def __repr__(self) -> str:
        return f"SparsitySchedule({dict(self.milestones)})"
