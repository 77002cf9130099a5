"""The speed of HiFi-GAN V1: the published implementation, and ours run in several ways.

`make bench` runs this. The ways take turns in each round, and ratios are medians over the rounds.
"""

import statistics

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from audio.constants import HOP, MELS, SAMPLE_RATE
from evaluation.settings import Settings
from hifigan import Generator, load_generator
from hifigan.vocoder import vocode
from pipeline.configuration import compose
from pipeline.hardware import fast_bfloat16, machine_description
from training import ROUNDS, seconds


class PublishedGenerator(nn.Module):
    """The generator as published: 1-d convolutions, and no operation works in place."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.config = generator.config
        for name, module in generator.named_modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                self.add_module(name.replace(".", "_"), _one_dimensional(module))

    def _convolve(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, name.replace(".", "_"))(x)

    def forward(self, mels: Tensor) -> Tensor:
        """Turn `[1, mels, frames]` into `[1, 1, samples]`."""
        x = self._convolve("conv_pre", mels)
        dilations = self.config["resblock_dilation_sizes"]
        for stage in range(len(self.config["upsample_rates"])):
            x = self._convolve(f"ups.{stage}", leaky_relu(x, 0.1))
            total = None
            for number, row in enumerate(dilations):
                block, y = f"resblocks.{stage * len(dilations) + number}", x
                for layer in range(len(row)):
                    z = self._convolve(f"{block}.convs1.{layer}", leaky_relu(y, 0.1))
                    y = self._convolve(f"{block}.convs2.{layer}", leaky_relu(z, 0.1)) + y
                total = y if total is None else total + y
            x = total / len(dilations)
        return torch.tanh(self._convolve("conv_post", leaky_relu(x)))


def _one_dimensional(module: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    kind = nn.ConvTranspose1d if isinstance(module, nn.ConvTranspose2d) else nn.Conv1d
    sizes = [each[1] for each in (module.kernel_size, module.stride, module.padding)]
    plain = kind(module.in_channels, module.out_channels, *sizes, dilation=module.dilation[1])
    plain.load_state_dict({"weight": module.weight.squeeze(2), "bias": module.bias})
    return plain.requires_grad_(False)


def main() -> None:
    torch.set_flush_denormal(True)
    config = compose(Settings, []).vocoder
    generator = load_generator(config.checkpoint, config.config)
    published = PublishedGenerator(generator).eval()
    frames = np.random.default_rng(0).integers(40, 200, 6)
    mels = [torch.randn(int(length), MELS) - 4 for length in frames]

    def published_one_by_one() -> None:
        with torch.no_grad():
            for mel in mels:
                published(mel.T[None])

    ways = {
        "as published, clip by clip": published_one_by_one,
        "ours, clip by clip": lambda: [vocode(generator, [mel]) for mel in mels],
        "ours, all clips in one call": lambda: vocode(generator, mels),
    }
    if fast_bfloat16():
        rounded = load_generator(config.checkpoint, config.config).to(dtype=torch.bfloat16)
        ways["ours, all clips in one call, in bfloat16"] = lambda: vocode(
            rounded, mels, config.frames_per_batch
        )
    print(f"vocoding ({machine_description()})", flush=True)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1 + ROUNDS):
        for name, way in ways.items():
            spent = seconds(way)
            if number:  # the first round compiles kernels and allocates memory
                times[name].append(spent)
    speech = frames.sum() * HOP / SAMPLE_RATE
    published_times, one_by_one_times, *_ = times.values()
    for name, values in times.items():
        factor = statistics.median(values) / speech
        to_published, to_one_by_one = (
            statistics.median(value / base for value, base in zip(values, bases, strict=True))
            for bases in (published_times, one_by_one_times)
        )
        print(
            f"  {name}: real-time factor {factor:.3f}, {to_published:.2f} of the published time, "
            f"{to_one_by_one:.2f} of ours clip by clip"
        )


if __name__ == "__main__":
    main()
