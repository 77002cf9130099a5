"""Sparsity as a function of the number of optimizer updates made so far."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from numbers import Real
from typing import Any


class SparsitySchedule:
    """A step function from the number of optimizer updates to the sparsity, a fraction.

    `schedule(u)` is the sparsity of the model after u updates: the switch at milestone u takes
    place right after the u-th update, and the one at 0 before the first.

    Attributes:
        milestones: pairs of update and sparsity, one for the start and for each change.
    """

    def __init__(self, milestones: Mapping[int, float]) -> None:
        """
        Args:
            milestones: {update: sparsity, a fraction}; update 0 has to be among them.

        Raises:
            ValueError: update 0 is missing, an update is negative or not a whole number, or a
                sparsity is not between 0 and 1.
        """
        for update, sparsity in milestones.items():
            if update != int(update) or update < 0:
                raise ValueError(f"a milestone is a number of updates (0, 1, ...), not {update!r}")
            if not 0 <= sparsity <= 1:
                raise ValueError(f"sparsity is a fraction between 0 and 1, not {sparsity!r}")
        if 0 not in milestones:
            raise ValueError("the schedule does not give the sparsity at update 0")
        given = sorted((int(update), float(sparsity)) for update, sparsity in milestones.items())
        changes = [then for now, then in pairwise(given) if then[1] != now[1]]
        self.milestones: list[tuple[int, float]] = [given[0], *changes]
        self._changes = {update for update, _ in changes}

    @classmethod
    def of(cls, value: Any) -> "SparsitySchedule":
        """Return a schedule as it is; make one of {update: sparsity}, pairs, or one sparsity."""
        if isinstance(value, SparsitySchedule):
            return value
        if isinstance(value, Real):
            return cls.constant(float(value))
        # Keys that have been through JSON are strings.
        return cls({int(u) if isinstance(u, str) else u: s for u, s in dict(value).items()})

    @classmethod
    def steps(cls, milestones: Mapping[int, float]) -> "SparsitySchedule":
        """Take {update: sparsity}, such as the paper's {0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0.0}."""
        return cls(milestones)

    @classmethod
    def constant(cls, sparsity: float) -> "SparsitySchedule":
        """Keep the same sparsity throughout."""
        return cls({0: sparsity})

    @classmethod
    def linear(cls, start: float, end: float, updates: int, **when: Any) -> "SparsitySchedule":
        """Go from `start` to `end` in a straight line over `updates` updates.

        Args:
            begin: number of updates at `start` before the line begins, 0 by default.
            every: number of updates between changes of the masks; by default, masks change about a
                hundred times.
        """
        return cls._smooth(lambda t: t, start, end, updates, **when)

    @classmethod
    def cosine(cls, start: float, end: float, updates: int, **when: Any) -> "SparsitySchedule":
        """Like `linear`, but along half a cosine: slow at both ends."""
        return cls._smooth(lambda t: (1 - math.cos(math.pi * t)) / 2, start, end, updates, **when)

    @classmethod
    def cubic(cls, start: float, end: float, updates: int, **when: Any) -> "SparsitySchedule":
        """Like `linear`, but fast at first: gradual pruning (Zhu, Gupta 2017, arXiv 1710.01878)."""
        return cls._smooth(lambda t: 1 - (1 - t) ** 3, start, end, updates, **when)

    @classmethod
    def alternating(
        cls, sparsity: float, phase: int, until: int, begin: int | None = None
    ) -> "SparsitySchedule":
        """Alternate sparse and dense phases, as AC/DC does (Peste et al. 2021, arXiv 2106.12379).

        There, weights return at 0 (`regrowth="zero"`), and the mask of each sparse phase has the
        largest magnitudes.

        Args:
            phase: updates of each phase.
            until: the update from which the model stays sparse.
            begin: updates before the first sparse phase; one phase by default.
        """
        first = phase if begin is None else begin
        if not 0 < phase <= until - first:
            raise ValueError(f"there is no time for phases of {phase} updates until {until}")
        starts = range(first, until, phase)
        phases = {start: 0.0 if i % 2 else sparsity for i, start in enumerate(starts)}
        return cls({0: 0.0} | phases | {until: sparsity})

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
        """Return the sparsity after `update` updates."""
        return self.milestones[bisect_right(self.milestones, (update, math.inf)) - 1][1]

    def changes_at(self, update: int) -> bool:
        """Whether the sparsity changes right after this many updates."""
        return update in self._changes

    def upcoming(self, update: int) -> list[float]:
        """Return the sparsity after `update` updates and all sparsities that follow it."""
        return [self(update)] + [s for milestone, s in self.milestones if milestone > update]

    def until_rise(self, update: int) -> list[float]:
        """Return the upcoming sparsities up to the last one before the next rise."""
        upcoming = self.upcoming(update)
        rises = (i for i, (now, then) in enumerate(pairwise(upcoming), start=1) if then > now)
        return upcoming[: next(rises, None)]

    @property
    def falls_after_rise(self) -> bool:
        """Whether a later switch may bring back weights that an earlier one has pruned."""
        after_rise = self.upcoming(0)[len(self.until_rise(0)) :]
        return any(then < now for now, then in pairwise(after_rise))

    @property
    def is_dense(self) -> bool:
        """Whether the sparsity is 0 throughout."""
        return not any(self.upcoming(0))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparsitySchedule) and self.milestones == other.milestones

    def __repr__(self) -> str:
        return f"SparsitySchedule({dict(self.milestones)})"
