"""HiFi-GAN's generator, with the same arithmetic as github.com/jik876/hifi-gan.

Each 1-d convolution is written as a 2-d convolution of height 1, because 2-d convolutions have a
channels-last layout, in which they run 1.5 times as fast on a CPU. For inference, weight norm is
folded into the weights when a checkpoint is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.1
"""Negative slope of every leaky ReLU but the last, which has PyTorch's default of 0.01."""


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(inputs, outputs, (1, kernel), dilation=(1, dilation), padding=(0, padding)).to(
        memory_format=torch.channels_last
    )


def _activate(
    x: Tensor, mask: Tensor | None, slope: float = SLOPE, inplace: bool = False
) -> Tensor:
    """Apply a leaky ReLU, then zero the padding, so that the next convolution reads zeros there.

    That is what it would read beyond the end of the clip if the clip were not in a batch.
    """
    x = leaky_relu(x, slope, inplace)
    return x if mask is None else x.mul_(mask)


class ResidualBlock1(nn.Module):
    """Residual block of V1 and V2: each layer is a dilated, then an undilated convolution."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.convs1 = nn.ModuleList(_convolution(channels, channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_convolution(channels, channels, kernel) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for dilated, undilated in zip(self.convs1, self.convs2, strict=True):
            inner = dilated(_activate(x, mask))
            x = undilated(_activate(inner, mask, inplace=True)).add_(x)
        return x


class ResidualBlock2(nn.Module):
    """Residual block of V3: each layer is one dilated convolution."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.convs = nn.ModuleList(_convolution(channels, channels, kernel, d) for d in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for convolution in self.convs:
            x = convolution(_activate(x, mask)).add_(x)
        return x


class Generator(nn.Module):
    """Generator with multi-receptive-field fusion, section 2.2 and appendix A.1 of the paper.

    Args:
        config: the official `config.json`: `resblock` ("1" or "2"), `upsample_rates`,
            `upsample_kernel_sizes`, `upsample_initial_channel`, `resblock_kernel_sizes`,
            `resblock_dilation_sizes`, and `num_mels`.

    Attributes:
        mels: the number of mel bands.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.config = dict(config)
        self.mels = config.get("num_mels", 80)
        self.blocks_per_stage = len(config["resblock_kernel_sizes"])
        block = {"1": ResidualBlock1, "2": ResidualBlock2}[str(config["resblock"])]
        channels = config["upsample_initial_channel"]
        self.conv_pre = _convolution(self.mels, channels, 7)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        self.rates = list(config["upsample_rates"])
        for rate, kernel in zip(self.rates, config["upsample_kernel_sizes"], strict=True):
            self.ups.append(
                nn.ConvTranspose2d(
                    channels,
                    channels // 2,
                    (1, kernel),
                    stride=(1, rate),
                    padding=(0, (kernel - rate) // 2),
                ).to(memory_format=torch.channels_last)
            )
            channels //= 2
            for size, dilations in zip(
                config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True
            ):
                self.resblocks.append(block(channels, size, dilations))
        self.conv_post = _convolution(channels, 1, 7)

    def forward(self, mels: Tensor, frames: Tensor | None = None) -> Tensor:
        """Turn log-mel spectrograms into waveforms.

        Args:
            mels: natural logarithms, `[batch, mels, frames]`; the padding is zero.
            frames: the number of frames of each clip, `[batch]`, if the clips differ in length.
                Each clip then gets the samples that it would get alone, followed by samples of
                the padding, which the caller has to cut off.

        Returns:
            Waveforms between −1 and 1, `[batch, 1, samples]`; samples = frames × the product of
            the upsampling rates.
        """
        x = mels.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        x = self.conv_pre(x)
        mask = _mask(frames, mels.shape[2], x)
        for stage, (rate, upsample) in enumerate(zip(self.rates, self.ups, strict=True)):
            x = upsample(_activate(x, mask, inplace=True))
            frames = None if frames is None else frames * rate
            mask = _mask(frames, x.shape[3], x)
            start = stage * self.blocks_per_stage
            blocks = self.resblocks[start : start + self.blocks_per_stage]
            # The mean of blocks whose receptive fields differ.
            first, *others = (block(x, mask) for block in blocks)
            for other in others:
                first.add_(other)
            x = first.div_(len(blocks))
        return torch.tanh(self.conv_post(_activate(x, mask, slope=0.01))).squeeze(2)


def _mask(lengths: Tensor | None, longest: int, like: Tensor) -> Tensor | None:
    """Return `[batch, 1, 1, longest]`: one inside each clip, zero in its padding."""
    if lengths is None:
        return None
    inside = torch.arange(longest, device=like.device) < lengths.to(like.device)[:, None]
    return inside[:, None, None].to(like.dtype)
