"""Krippendorff's alpha: agreement of listeners beyond chance, with missing answers allowed."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

import krippendorff


def krippendorff_alpha(
    answers: Iterable[tuple[Hashable, float]], level: str = "nominal"
) -> float | None:
    """Compute alpha: 1 is full agreement, 0 is chance.

    Args:
        answers: pairs of (question, answer), one for each listener who answered the question.
        level: of measurement: nominal, ordinal or interval.

    Returns:
        Alpha, or None if no question has two answers or all those answers are the same.
    """
    units: dict[Hashable, Counter] = defaultdict(Counter)
    for unit, answer in answers:
        units[unit][answer] += 1
    shared = [counts for counts in units.values() if counts.total() > 1]
    domain = sorted(set().union(*shared))
    if len(domain) < 2:
        return None
    counts = [[counts[value] for value in domain] for counts in shared]
    return float(
        krippendorff.alpha(value_counts=counts, value_domain=domain, level_of_measurement=level)
    )
