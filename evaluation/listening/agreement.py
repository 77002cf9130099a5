"""Krippendorff's alpha: agreement of listeners beyond chance, with missing answers allowed."""

from collections.abc import Hashable, Iterable

import numpy as np


def krippendorff_alpha(
    answers: Iterable[tuple[Hashable, float]], ordinal: bool = False
) -> float | None:
    """Compute alpha: 1 is full agreement, 0 is chance.

    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".

    Args:
        answers: pairs of (question, answer), one for each listener who answered the question.
        ordinal: use the ordinal difference of answers, not the nominal one.

    Returns:
        Alpha, or None if no question has two answers or all those answers are the same.
    """
    units: dict[Hashable, list[float]] = {}
    for unit, answer in answers:
        units.setdefault(unit, []).append(answer)
    shared = [values for values in units.values() if len(values) > 1]
    levels = sorted({value for values in shared for value in values})
    if len(levels) < 2:
        return None
    index = {level: i for i, level in enumerate(levels)}
    coincidences = np.zeros((len(levels), len(levels)))
    for values in shared:
        counts = np.bincount([index[value] for value in values], minlength=len(levels))
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)
    totals = coincidences.sum(0)
    difference = _ordinal(totals) if ordinal else 1.0 - np.eye(len(levels))
    observed = (coincidences * difference).sum()
    expected = (np.outer(totals, totals) * difference).sum() / (totals.sum() - 1)
    return float(1 - observed / expected)


def _ordinal(totals: np.ndarray) -> np.ndarray:
    """Squared number of answers between two levels, counting half of those at either level."""
    middle = np.cumsum(totals) - totals / 2
    return np.subtract.outer(middle, middle) ** 2
