"""Variance compensation restores the natural variance and keeps the mean."""

import torch

from fastspeech2.synthesis.compensation import compensate, variance_ratio


def test_compensated_mels_have_the_natural_variance_and_keep_their_mean():
    natural = [torch.randn(50, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0]) for _ in range(3)]
    predicted = [0.5 * mel + 7.0 for mel in natural]
    ratio = variance_ratio(natural, predicted)
    torch.testing.assert_close(ratio, torch.full((4,), 2.0))
    batch, mask = torch.full((2, 60, 4), 99.0), torch.zeros(2, 60, dtype=torch.bool)
    for row, mel in enumerate(predicted[:2]):
        batch[row, :50], mask[row, :50] = mel, True
    stretched = compensate(batch, ratio, mask)[:, :50]
    for row in range(2):
        torch.testing.assert_close(stretched[row].std(0), natural[row].std(0))
        torch.testing.assert_close(stretched[row].mean(0), predicted[row].mean(0))


def test_the_variance_is_never_reduced():
    natural = [torch.randn(50, 4)]
    assert variance_ratio(natural, [natural[0] * 3]).tolist() == [1.0] * 4
