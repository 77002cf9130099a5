"""HiFi-GAN's discriminators, section 2.3 of the paper and github.com/jik876/hifi-gan.

Each takes waveforms `[batch, 1, samples]` and gives its scores and its feature maps.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from hifigan.generator import SLOPE

Verdict = tuple[list[Tensor], list[Tensor]]
"""Of a set of discriminators: scores `[batch, positions]` of each, and all their feature maps."""


class _Discriminator(nn.Module):
    """Convolutions with leaky ReLUs between them, and one that scores."""

    convs: nn.ModuleList
    conv_post: nn.Module

    def judge(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for convolution in self.convs:
            x = leaky_relu(convolution(x), SLOPE)
            features.append(x)
        x = self.conv_post(x)
        return x.flatten(1), [*features, x]


class PeriodDiscriminator(_Discriminator):
    """Sees every `period`-th sample apart: an image `[samples / period, period]`."""

    def __init__(self, period: int):
        super().__init__()
        self.period = period
        channels, strides = (1, 32, 128, 512, 1024, 1024), (3, 3, 3, 3, 1)
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), (2, 0)))
            for inputs, outputs, stride in zip(channels, channels[1:], strides, strict=False)
        )
        self.conv_post = weight_norm(nn.Conv2d(1024, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = pad(x, (0, -x.shape[2] % self.period), "reflect")
        return self.judge(x.unflatten(2, (-1, self.period)))


class ScaleDiscriminator(_Discriminator):
    """Sees the waveform at one resolution; `norm` is that of its weights."""

    def __init__(self, norm: Callable[[nn.Module], nn.Module]):
        super().__init__()
        # Outputs, kernel, stride, groups.
        layers = [(128, 15, 1, 1), (128, 41, 2, 4), (256, 41, 2, 16), (512, 41, 4, 16)]
        layers += [(1024, 41, 4, 16), (1024, 41, 1, 16), (1024, 5, 1, 1)]
        self.convs, inputs = nn.ModuleList(), 1
        for outputs, kernel, stride, groups in layers:
            convolution = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
            self.convs.append(norm(convolution))
            inputs = outputs
        self.conv_post = norm(nn.Conv1d(inputs, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.judge(x)


def _together(verdicts: list[tuple[Tensor, list[Tensor]]]) -> Verdict:
    return [scores for scores, _ in verdicts], [each for _, maps in verdicts for each in maps]


class MultiPeriodDiscriminator(nn.Module):
    """One discriminator for each of the periods 2, 3, 5, 7 and 11."""

    def __init__(self):
        super().__init__()
        self.discriminators = nn.ModuleList(PeriodDiscriminator(p) for p in (2, 3, 5, 7, 11))

    def forward(self, x: Tensor) -> Verdict:
        return _together([each(x) for each in self.discriminators])


class MultiScaleDiscriminator(nn.Module):
    """One discriminator for the waveform and for its averages over two and over four samples."""

    def __init__(self):
        super().__init__()
        norms = (spectral_norm, weight_norm, weight_norm)
        self.discriminators = nn.ModuleList(ScaleDiscriminator(norm) for norm in norms)
        self.pool = nn.AvgPool1d(4, 2, padding=2)

    def forward(self, x: Tensor) -> Verdict:
        verdicts = []
        for discriminator in self.discriminators:
            verdicts.append(discriminator(x))
            x = self.pool(x)
        return _together(verdicts)


class Discriminators(nn.Module):
    """Both sets, named as in the official checkpoints `do_*`."""

    def __init__(self):
        super().__init__()
        self.mpd = MultiPeriodDiscriminator()
        self.msd = MultiScaleDiscriminator()

    def forward(self, x: Tensor) -> Verdict:
        (period_scores, period_maps), (scale_scores, scale_maps) = self.mpd(x), self.msd(x)
        return period_scores + scale_scores, period_maps + scale_maps

    def compare(self, real: Tensor, generated: Tensor) -> tuple[Verdict, Verdict]:
        """Verdicts on two batches of one shape, at the price of one."""
        scores, maps = self(torch.cat([real, generated]))
        halves = [[each.chunk(2) for each in part] for part in (scores, maps)]
        first, second = ([[pair[i] for pair in part] for part in halves] for i in range(2))
        return tuple(first), tuple(second)
