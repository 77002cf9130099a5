"""Bins of sentence lengths."""

import numpy as np

from evaluation.report.speech_figures import BINS, bin_names, length_bins


def test_bins_of_lengths_hold_about_equally_many_sentences():
    words = np.random.default_rng(0).integers(1, 41, 1000).tolist()
    begins = length_bins(words)
    counts = np.histogram(words, [*begins, 41])[0]
    assert len(begins) == BINS and begins[0] == 1
    assert counts.sum() == 1000 and all(150 < count < 250 for count in counts)


def test_a_length_with_few_sentences_gets_no_bin_of_its_own():
    assert length_bins([5] + [6] * 20 + [7] * 12 + [8, 9] * 6) == [5, 7, 8]
    assert length_bins([5] * 10 + [6] * 20 + [7] * 20) == [5, 6, 7]
    assert length_bins([4, 4, 4]) == [4]


def test_bins_are_named_by_their_lengths():
    assert bin_names([5, 7, 8], 9) == ["5–6", "7", "8–9"]
    assert bin_names([4], 4) == ["4"]
