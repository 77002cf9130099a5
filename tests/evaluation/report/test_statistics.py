"""Intervals and tests against scipy, values of statsmodels, and simulated experiments."""

import numpy as np
import pytest
from scipy import stats

from evaluation.report.statistics import Sentences, holm, mean_interval, paired_bootstrap, paired_t


def test_intervals_equal_those_of_scipy():
    values = [0.741, 0.702, 0.755, 0.713]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    interval = mean_interval(values)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.mean == pytest.approx(np.mean(values)) and interval.count == 4
    assert mean_interval([0.7]).low is None and mean_interval([0.7]).half_width is None


def test_paired_t_equals_that_of_scipy():
    system, baseline = [1.52, 1.49, 1.55], [1.50, 1.48, 1.50]
    expected = stats.ttest_rel(system, baseline)
    actual = paired_t(system, baseline)
    assert actual.p == pytest.approx(expected.pvalue)
    limits = expected.confidence_interval(0.95)
    assert (actual.low, actual.high) == pytest.approx((limits.low, limits.high))
    assert paired_t([1.0], [2.0]).p is None and paired_t([1.0], [2.0]).difference == -1
    assert paired_t([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_p_values_are_corrected_by_holms_method_in_the_order_given():
    # The smallest of n is multiplied by n, the next by n - 1, and none falls below one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2, 0.001, 0.9]) == pytest.approx([0.4, 0.003, 0.9])
    assert holm([0.5, 0.6]) == [1.0, 1.0] and holm([]) == []


def test_bootstrap_of_a_mean_over_sentences_equals_that_of_scipy():
    """With one seed: against a paired t-test and scipy's bootstrap of the paired differences."""
    random = np.random.default_rng(0)
    a, b = random.normal(3.6, 0.4, 40), random.normal(3.4, 0.4, 40)
    ones = np.ones((1, 40))
    actual = paired_bootstrap(Sentences(a[None], ones), Sentences(b[None], ones), random)
    expected = stats.ttest_rel(a, b)
    limits = expected.confidence_interval(0.95)
    assert actual.difference == pytest.approx(np.mean(a - b))
    assert (actual.low, actual.high) == pytest.approx((limits.low, limits.high), abs=0.015)
    assert actual.p == pytest.approx(expected.pvalue, rel=0.3)
    resampled = stats.bootstrap((a - b,), np.mean, random_state=0).standard_error
    width = (actual.high - actual.low) / 2 / stats.t.ppf(0.975, 39)
    assert width == pytest.approx(resampled * (40 / 39) ** 0.5, rel=0.05)
    assert (actual.seeds, actual.sentences) == (1, 40)


def test_bootstrap_over_seeds_alone_is_the_paired_t_test():
    random = np.random.default_rng(1)
    a, b = np.array([[0.10], [0.13], [0.15], [0.12]]), np.array([[0.11], [0.17], [0.18], [0.14]])
    ones = np.ones((4, 1))
    actual = paired_bootstrap(Sentences(a, ones), Sentences(b, ones), random)
    expected = stats.ttest_rel(a[:, 0], b[:, 0])
    assert actual.p == pytest.approx(expected.pvalue, rel=0.15)


def test_error_rates_pool_words_and_roots_are_taken_for_each_seed():
    errors, words = np.array([[1, 0, 3], [0, 0, 2]]), np.array([[2, 8, 10], [2, 8, 10]])
    seeds, sentences = np.ones((1, 2)), np.ones((1, 3))
    assert Sentences(errors, words).value(seeds, sentences) == pytest.approx((4 / 20 + 2 / 20) / 2)
    root = Sentences(errors, words, np.sqrt).value(seeds, sentences)
    assert root == pytest.approx((0.2**0.5 + 0.1**0.5) / 2)
    twice_the_last = Sentences(errors, words).value(seeds, np.array([[1, 0, 2]]))
    assert twice_the_last == pytest.approx((7 / 22 + 4 / 22) / 2)


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_intervals_cover_the_truth_as_often_as_they_claim(seeds):
    """Simulates seed effects, sentence effects and noise; percentiles cover 75 % at 3 seeds."""
    random, covered, rejected, sure, experiments = np.random.default_rng(2), 0, 0, 0, 300
    spread = 0.3 if seeds > 1 else 0.0  # one seed claims nothing about other seeds
    for _ in range(experiments):
        noise = random.normal(0, 0.5, (seeds, 30))
        effect = spread * random.normal(0, 1, (seeds, 1)) + 0.4 * random.normal(0, 1, (1, 30))
        system = Sentences(3.0 + effect + noise, np.ones((seeds, 30)))
        baseline = Sentences(np.full((seeds, 30), 3.0), np.ones((seeds, 30)))
        result = paired_bootstrap(system, baseline, random)
        covered += result.low <= 0 <= result.high
        rejected += result.p < 0.05
        sure += result.p < 0.001
    # 0.92 is 95 % less two standard errors of a fraction of 300. Much wider ones are no use either.
    assert 0.92 <= covered / experiments <= 0.995
    assert rejected == experiments - covered
    # Agreement of seeds by chance is no certainty. Satterthwaite's test: 9 p-values < 0.001 at 2.
    assert sure <= 2
