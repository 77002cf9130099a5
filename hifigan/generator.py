"""The generator of HiFi-GAN, arithmetically that of github.com/jik876/hifi-gan.

Every 1-d convolution is written as a 2-d one of height 1, since in the channels-last layout those
run 1.5 times as fast on a CPU. Weight norm is folded when a checkpoint is loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.1  # of every leaky ReLU but the last, which has PyTorch's default of 0.01


def _convolution(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Conv2d:
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(inputs, outputs, (1, kernel), dilation=(1, dilation), padding=(0, padding)).to(
        memory_format=torch.channels_last
    )


def _activate(
    x: Tensor, mask: Tensor | None, slope: float = SLOPE, inplace: bool = False
) -> Tensor:
    """Leaky ReLU, then zeros beyond each clip's end, as if the clip were alone."""
    x = leaky_relu(x, slope, inplace)
    return x if mask is None else x.mul_(mask)


class ResidualBlock1(nn.Module):
    """Pairs of a dilated and a plain convolution (V1 and V2)."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.convs1 = nn.ModuleList(_convolution(channels, channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(_convolution(channels, channels, kernel) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            inner = dilated(_activate(x, mask))
            x = plain(_activate(inner, mask, inplace=True)).add_(x)
        return x


class ResidualBlock2(nn.Module):
    """Dilated convolutions alone (V3)."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.convs = nn.ModuleList(_convolution(channels, channels, kernel, d) for d in dilations)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        for convolution in self.convs:
            x = convolution(_activate(x, mask)).add_(x)
        return x


class Generator(nn.Module):
    """Multi-receptive-field generator, section 2.2 and appendix A.1 of the paper.

    Args:
        config: the official `config.json`: `resblock` ("1" or "2"), `upsample_rates`,
            `upsample_kernel_sizes`, `upsample_initial_channel`, `resblock_kernel_sizes`,
            `resblock_dilation_sizes`, and `num_mels`.
    """

    def __init__(self, config: Mapping[str, Any]):
        super().__init__()
        self.config = dict(config)
        self.mels = config.get("num_mels", 80)
        self.kernels = len(config["resblock_kernel_sizes"])
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
        """Waveforms of log-mel spectrograms.

        Args:
            mels: `[batch, mels, frames]`, natural logarithm, zero where padded.
            frames: `[batch]`, each clip's length where they differ; then a clip's samples are
                those that it would have alone, and what follows them is to be cut off.

        Returns:
            `[batch, 1, samples]` in −1…1, with samples = frames × the product of the rates.
        """
        x = mels.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        x = self.conv_pre(x)
        mask = _mask(frames, mels.shape[2], x)
        for stage, (rate, upsample) in enumerate(zip(self.rates, self.ups, strict=True)):
            x = upsample(_activate(x, mask, inplace=True))
            frames = None if frames is None else frames * rate
            mask = _mask(frames, x.shape[3], x)
            blocks = self.resblocks[stage * self.kernels : (stage + 1) * self.kernels]
            first, *others = (block(x, mask) for block in blocks)
            for other in others:
                first.add_(other)
            x = first.div_(len(blocks))
        return torch.tanh(self.conv_post(_activate(x, mask, slope=0.01))).squeeze(2)


def _mask(lengths: Tensor | None, longest: int, like: Tensor) -> Tensor | None:
    """`[batch, 1, 1, longest]`: one inside each clip and zero beyond it."""
    if lengths is None:
        return None
    inside = torch.arange(longest, device=like.device) < lengths.to(like.device)[:, None]
    return inside[:, None, None].to(like.dtype)
