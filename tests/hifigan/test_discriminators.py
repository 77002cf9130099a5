"""Discriminators and losses of the published training."""

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, leaky_relu, pad

from audio.mel import log_mel
from hifigan.finetuning import losses
from hifigan.finetuning.discriminators import Discriminators, PeriodDiscriminator


def test_discriminators_have_the_published_size():
    """The published modules have 41.1 and 29.6 million parameters, with those of their norms."""
    discriminators = Discriminators()
    sizes = [
        sum(p.numel() for p in part.parameters())
        for part in (discriminators.mpd, discriminators.msd)
    ]
    assert sizes == [41_105_770, 29_618_821]
    scores, maps = discriminators(torch.randn(2, 1, 1000))
    assert len(scores) == 5 + 3 and len(maps) == 5 * 6 + 3 * 8
    # The strides shorten a column by 3⁴, and a waveform by 2·2·4·4.
    assert scores[0].shape == (2, 7 * 2) and scores[5].shape == (2, 16)


def test_scores_of_a_pair_are_those_of_each_batch():
    discriminators = Discriminators().eval()  # spectral norm changes at each call in training
    real, generated = torch.randn(2, 2, 1, 1000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pair = discriminators.score_pair(real, generated)
        for scores, batch in zip(pair, (real, generated), strict=True):
            torch.testing.assert_close(scores, discriminators(batch)[0], atol=1e-5, rtol=1e-4)


def test_a_period_discriminator_convolves_each_phase_separately():
    """Compare with 1-d convolutions of every third sample, with weights unfolded by hand."""
    discriminator = PeriodDiscriminator(3)
    x = torch.randn(1, 1, 200, generator=torch.Generator().manual_seed(1))
    y = pad(x, (0, 1), "reflect")[0, 0].view(67, 3).T[:, None]  # `[phase, 1, samples]`
    layers = [*zip(discriminator.convs, (3, 3, 3, 3, 1), strict=True)]
    for layer, stride in [*layers, (discriminator.conv_post, 1)]:
        parts = layer.parametrizations.weight
        v = parts.original1
        w = parts.original0 * v / v.flatten(1).norm(dim=1)[:, None, None, None]
        y = conv1d(y, w.squeeze(3), layer.bias, stride, w.shape[2] // 2)
        y = y if layer is discriminator.conv_post else leaky_relu(y, 0.1)
    torch.testing.assert_close(discriminator(x)[0], y.permute(1, 2, 0).flatten(1))


def test_losses_are_those_of_the_paper():
    real, generated = [torch.tensor([[1.0, 3.0]])], [torch.tensor([[0.0, 2.0]])]
    assert losses.discriminator_loss(real, generated) == (0 + 4) / 2 + (0 + 4) / 2
    assert losses.adversarial_loss(generated * 2) == 2 * (1 + 1) / 2
    maps = [torch.zeros(2, 3), torch.zeros(1, 2)], [torch.ones(2, 3), torch.tensor([[1.0, -3.0]])]
    assert losses.feature_loss(*maps) == 1 + 2
    # Doubling the amplitude adds log 2 to each band that is above the floor.
    noise = 0.1 * torch.randn(2, 8192, generator=torch.Generator().manual_seed(2))
    assert float(losses.mel_loss(noise, 2 * noise)) == pytest.approx(np.log(2), abs=1e-3)


def test_the_mels_of_a_batch_are_those_of_each_clip():
    waveforms = 0.1 * torch.randn(2, 4096, generator=torch.Generator().manual_seed(3))
    for waveform, mel in zip(waveforms, log_mel(waveforms), strict=True):
        torch.testing.assert_close(log_mel(waveform), mel, atol=1e-5, rtol=0)
