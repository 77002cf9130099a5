"""Intervals and paired tests over few seeds and some sentences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95
RESAMPLES = 2000
LEAST_P = 1e-12
"""p-values below are given as 0."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, which a single value does not have."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def half_width(self) -> float | None:
        return None if self.low is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """A paired difference of two systems, its 95 % interval and two-sided p-value."""

    difference: float
    low: float | None
    high: float | None
    p: float | None
    seeds: int
    sentences: int | None = None
    """None where a run has one value, such as a loss"""


def mean_interval(values: Sequence[float]) -> Interval:
    """Student's t interval of the mean over seeds, `[seeds]`."""
    values = np.asarray(values, float)
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Interval(mean, None, None, count)
    width = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * stats.sem(values))
    return Interval(mean, mean - width, mean + width, count)


def paired_t(system: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Paired t-test of `system` minus `baseline`, each `[seeds]` in the same order of seeds."""
    differences = np.asarray(system, float) - np.asarray(baseline, float)
    interval = mean_interval(differences)
    if interval.low is None:
        return Comparison(interval.mean, None, None, None, 1)
    p = _p_value(interval.mean, [stats.sem(differences) ** 2], [len(differences) - 1])
    return Comparison(interval.mean, interval.low, interval.high, p, len(differences))


@dataclass(frozen=True)
class Sentences:
    """A measure of a system sentence by sentence: a run's value is Σ amounts / Σ weights.

    Amounts and weights are `[seeds, sentences]`: word errors and words for an error rate, values
    and ones for a mean. `finish` is what the ratio goes through, such as a square root.
    """

    amounts: np.ndarray
    weights: np.ndarray
    finish: Callable[[np.ndarray], np.ndarray] = np.asarray

    def value(self, seeds: np.ndarray, sentences: np.ndarray) -> np.ndarray:
        """Means over seeds `[resamples]`, seeds and sentences counted as often as these say.

        Args:
            seeds: `[resamples, seeds]`.
            sentences: `[resamples, sentences]`.
        """
        each = self.finish((sentences @ self.amounts.T) / (sentences @ self.weights.T))
        return (each * seeds).sum(1) / seeds.sum(1)


def paired_bootstrap(
    system: Sentences, baseline: Sentences, random: np.random.Generator
) -> Comparison:
    """Bootstrap over sentences and seeds of `system` minus `baseline`, paired in both.

    Sentences (Bisani and Ney 2004, for error rates) and seeds are resampled each by themselves,
    for the two systems alike; the variances add up, each times n / (n - 1), since resampling n
    things shows so much less than their variance. The interval is Banerjee's (1961), whose half
    width is the root of Σ t²·variance, t being Student's for the degrees of freedom of each, which
    covers at least as often as it says. One t for the sum, by Satterthwaite's degrees of freedom,
    does not: two seeds that happen to agree pass for certainty, in 3 tests of 100 at a p of 0.001.
    Percentiles would be narrower still: three seeds that agree in sign agree in every resample.
    With one seed sentences alone are resampled, and the result holds for these two models only.
    """
    seeds, sentences = system.amounts.shape
    all_seeds, all_sentences = np.ones((1, seeds)), np.ones((1, sentences))

    def differences(*counts: np.ndarray) -> np.ndarray:
        return system.value(*counts) - baseline.value(*counts)

    difference = float(differences(all_seeds, all_sentences)[0])
    variances, freedoms = [], []
    for count, resampled in (
        (seeds, lambda counts: differences(counts, all_sentences)),
        (sentences, lambda counts: differences(all_seeds, counts)),
    ):
        if count > 1:
            counts = random.multinomial(count, np.full(count, 1 / count), RESAMPLES)
            variances.append(float(np.var(resampled(counts))) * count / (count - 1))
            freedoms.append(count - 1)
    if not variances:
        return Comparison(difference, None, None, None, seeds, sentences)
    width = _half_width(1 - LEVEL, variances, freedoms)
    p = _p_value(difference, variances, freedoms)
    return Comparison(difference, difference - width, difference + width, p, seeds, sentences)


def _half_width(p: float, variances: Sequence[float], freedoms: Sequence[int]) -> float:
    """Of the interval that covers all but a share `p`."""
    return float(np.sqrt(np.square(stats.t.isf(p / 2, freedoms)) @ variances))


def _p_value(difference: float, variances: Sequence[float], freedoms: Sequence[int]) -> float:
    if difference == 0:
        return 1.0

    def excess(p: float) -> float:
        return _half_width(p, variances, freedoms) - abs(difference)

    return optimize.brentq(excess, LEAST_P, 1.0, xtol=LEAST_P) if excess(LEAST_P) > 0 else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that stay below a level together (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = float(highest)
    return adjusted
