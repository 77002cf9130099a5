"""Variance compensation against its definition."""

import torch

from fastspeech2.compensation import compensate, variance_ratio


def test_compensated_mels_have_the_natural_variance_and_their_own_mean():
    natural = [torch.randn(50, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0]) for _ in range(3)]
    predicted = [0.5 * mel + 7.0 for mel in natural]
    ratio = variance_ratio(natural, predicted)
    torch.testing.assert_close(ratio, torch.full((4,), 2.0))
    stretched = compensate(predicted[0], ratio)
    torch.testing.assert_close(stretched.std(0), natural[0].std(0))
    torch.testing.assert_close(stretched.mean(0), predicted[0].mean(0))


def test_predictions_are_never_flattened():
    natural = [torch.randn(50, 4)]
    assert variance_ratio(natural, [natural[0] * 3]).tolist() == [1.0] * 4
