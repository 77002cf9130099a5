"""HiFi-GAN's discriminators, section 2.3 of the paper and github.com/jik876/hifi-gan.

Each takes waveforms `[batch, 1, samples]` and returns its scores and its feature maps.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from hifigan.generator import SLOPE

ScoresAndMaps = tuple[list[Tensor], list[Tensor]]
"""The scores of several discriminators, `[batch, positions]` each, and all their feature maps."""


class _Discriminator(nn.Module):
    """Convolutions, each followed by a leaky ReLU, and a last one that gives the scores."""

    convs: nn.ModuleList
    conv_post: nn.Module

    def scores_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for convolution in self.convs:
            x = leaky_relu(convolution(x), SLOPE)
            features.append(x)
        x = self.conv_post(x)
        return x.flatten(1), [*features, x]


class PeriodDiscriminator(_Discriminator):
    """Scores a waveform that is folded to an image, `[samples / period, period]`.

    Its kernels have a width of one, so that each sees only every `period`-th sample.
    """

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
        return self.scores_and_maps(x.unflatten(2, (-1, self.period)))


class ScaleDiscriminator(_Discriminator):
    """Scores the waveform at one resolution.

    Args:
        norm: how the weights are normalised, such as torch's `weight_norm`.
    """

    def __init__(self, norm: Callable[[nn.Module], nn.Module]):
        super().__init__()
        # (output channels, kernel, stride, groups)
        layers = [(128, 15, 1, 1), (128, 41, 2, 4), (256, 41, 2, 16), (512, 41, 4, 16)]
        layers += [(1024, 41, 4, 16), (1024, 41, 1, 16), (1024, 5, 1, 1)]
        self.convs, inputs = nn.ModuleList(), 1
        for outputs, kernel, stride, groups in layers:
            convolution = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)
            self.convs.append(norm(convolution))
            inputs = outputs
        self.conv_post = norm(nn.Conv1d(inputs, 1, 3, padding=1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self.scores_and_maps(x)


def _combine(outputs: list[tuple[Tensor, list[Tensor]]]) -> ScoresAndMaps:
    return [scores for scores, _ in outputs], [each for _, maps in outputs for each in maps]


class MultiPeriodDiscriminator(nn.Module):
    """One discriminator for each of the periods 2, 3, 5, 7 and 11."""

    def __init__(self):
        super().__init__()
        self.discriminators = nn.ModuleList(PeriodDiscriminator(p) for p in (2, 3, 5, 7, 11))

    def forward(self, x: Tensor) -> ScoresAndMaps:
        return _combine([discriminator(x) for discriminator in self.discriminators])


class MultiScaleDiscriminator(nn.Module):
    """One discriminator for the waveform, and one each for its 2 and 4 times pooled versions."""

    def __init__(self):
        super().__init__()
        norms = (spectral_norm, weight_norm, weight_norm)
        self.discriminators = nn.ModuleList(ScaleDiscriminator(norm) for norm in norms)
        self.pool = nn.AvgPool1d(4, 2, padding=2)

    def forward(self, x: Tensor) -> ScoresAndMaps:
        outputs = []
        for discriminator in self.discriminators:
            outputs.append(discriminator(x))
            x = self.pool(x)
        return _combine(outputs)


class Discriminators(nn.Module):
    """The multi-period and the multi-scale discriminators, named as in official `do_*` files."""

    def __init__(self):
        super().__init__()
        self.mpd = MultiPeriodDiscriminator()
        self.msd = MultiScaleDiscriminator()

    def forward(self, x: Tensor) -> ScoresAndMaps:
        (period_scores, period_maps), (scale_scores, scale_maps) = self.mpd(x), self.msd(x)
        return period_scores + scale_scores, period_maps + scale_maps

    def score_pair(self, real: Tensor, generated: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the scores of two batches of one shape, computed as one batch."""
        scores, _ = self(torch.cat([real, generated]))
        real_scores, generated_scores = zip(*(each.chunk(2) for each in scores), strict=True)
        return list(real_scores), list(generated_scores)
