"""Sparsity as a function of the number of optimizer updates made so far."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise


class SparsitySchedule:
    """A step function from optimizer updates to sparsity, given by the updates where it changes.

    `schedule(u)` is the sparsity of the model after u updates: the switch at milestone u takes
    place right after the u-th update, and that at 0 before the first.
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
                raise ValueError(
                    f"sparsity is a fraction between 0 and 1, not {sparsity!r} (update {update})"
                )
        if 0 not in milestones:
            raise ValueError("a schedule has to say the sparsity at update 0")
        changes = sorted((int(update), float(s)) for update, s in milestones.items())
        self.milestones: list[tuple[int, float]] = changes[:1] + [
            after for before, after in pairwise(changes) if after[1] != before[1]
        ]

    @classmethod
    def steps(cls, milestones: Mapping[int, float]) -> "SparsitySchedule":
        """{update: sparsity}, for instance the paper's {0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0.0}."""
        return cls(milestones)

    @classmethod
    def constant(cls, sparsity: float) -> "SparsitySchedule":
        """The same sparsity for ever."""
        return cls({0: sparsity})

    @classmethod
    def linear(
        cls, start: float, end: float, updates: int, begin: int = 0, every: int | None = None
    ) -> "SparsitySchedule":
        """From `start` to `end` in a straight line of `updates` updates, after the first `begin`.

        Masks change every `every` updates: about a hundred times unless given.
        """
        return cls._smooth(start, end, updates, begin, every, lambda t: t)

    @classmethod
    def cosine(
        cls, start: float, end: float, updates: int, begin: int = 0, every: int | None = None
    ) -> "SparsitySchedule":
        """As `linear`, along half a cosine: slow at both ends."""
        return cls._smooth(
            start, end, updates, begin, every, lambda t: (1 - math.cos(math.pi * t)) / 2
        )

    @classmethod
    def cubic(
        cls, start: float, end: float, updates: int, begin: int = 0, every: int | None = None
    ) -> "SparsitySchedule":
        """As `linear`, fast at first: gradual pruning (Zhu and Gupta 2017, arXiv 1710.01878)."""
        return cls._smooth(start, end, updates, begin, every, lambda t: 1 - (1 - t) ** 3)

    @classmethod
    def _smooth(
        cls,
        start: float,
        end: float,
        updates: int,
        begin: int,
        every: int | None,
        progress: Callable[[float], float],
    ) -> "SparsitySchedule":
        every = every or max(1, updates // 100)
        milestones = {
            begin + u: start + (end - start) * progress(u / updates)
            for u in range(0, updates, every)
        }
        return cls({0: start} | milestones | {begin + updates: end})

    def __call__(self, update: int) -> float:
        """Sparsity after `update` updates."""
        return self.milestones[bisect_right(self.milestones, (update, math.inf)) - 1][1]

    def ahead(self, update: int) -> list[float]:
        """The sparsity after `update` updates and each that follows it."""
        later = [sparsity for milestone, sparsity in self.milestones if milestone > update]
        return [self(update), *later]

    def falls(self, update: int) -> list[float]:
        """As `ahead`, up to where sparsity rises next."""
        ahead = self.ahead(update)
        rises = [i for i, (now, then) in enumerate(pairwise(ahead), start=1) if then > now]
        return ahead[: rises[0]] if rises else ahead

    @property
    def is_dense(self) -> bool:
        """Whether the sparsity is 0 throughout."""
        return all(sparsity == 0 for _, sparsity in self.milestones)

    @property
    def falls_after_a_rise(self) -> bool:
        """Whether a later switch may bring back what an earlier one took."""
        return len(self.falls(0)) < len(self.milestones) and any(
            after < before for before, after in pairwise(self.ahead(0)[len(self.falls(0)) :])
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparsitySchedule) and self.milestones == other.milestones

    def __repr__(self) -> str:
        return f"SparsitySchedule({dict(self.milestones)})"
