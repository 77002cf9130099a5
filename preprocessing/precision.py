"""Where arithmetic in bfloat16 is faster than in float32."""

import torch


def fast_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices by instructions of its own.

    Intel's AMX or AVX512-BF16 (also AMD's since Zen 4) on CPUs; tensor cores since Ampere.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return multiplies_tiles() or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def multiplies_tiles() -> bool:
    """Whether the CPU has Intel's AMX, many times as fast in bfloat16 as in float32.

    AVX512-BF16, which has vectors as float32 does, is twice as fast.
    """
    return torch.cpu.get_capabilities().get("amx_bf16", False)
