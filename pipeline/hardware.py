"""The machine: its processor, its bfloat16 instructions, and how it hands out memory."""

import ctypes
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.errors import RecipeError

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of mallopt, from malloc.h."""


def device_of(accelerator: str) -> str:
    """PyTorch's name for the accelerator `cpu`, `gpu` or `mps` of conf/trainer/.

    Raises:
        RecipeError: this machine has none that PyTorch can use.
    """
    usable: dict[str, Callable[[], bool]] = {
        "gpu": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if accelerator in usable and not usable[accelerator]():
        raise RecipeError(
            f"accelerator={accelerator}: PyTorch finds no such device on this machine; on the CPU, "
            "train with trainer=cpu and speak with inference.accelerator=cpu"
        )
    return "cuda" if accelerator == "gpu" else accelerator


def processor_name(device: torch.device | str = "cpu") -> str:
    """The model name of the GPU or CPU; the architecture of the CPU where Linux gives no name."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine_description() -> str:
    """The processor, its widest vector instructions, whether it has bfloat16, and the threads."""
    bfloat16 = "bfloat16" if fast_bfloat16() else "no bfloat16"
    threads = torch.get_num_threads()
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{processor_name()}, {vectors}, {bfloat16}, {threads} threads"


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next tensors of this process.

    A training frees and allocates the same megabytes at each update. By default glibc returns them
    to the system each time. Mapping them again took a tenth to a quarter of each update.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def fast_bfloat16(device: torch.device | str = "cpu") -> bool:
    """Whether the device has instructions for products of bfloat16 matrices.

    On CPUs these are AMX (Intel) and AVX512-BF16 (Intel, and AMD since Zen 4), on GPUs the tensor
    cores since Ampere.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return multiplies_tiles() or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def multiplies_tiles() -> bool:
    """Whether the CPU has Intel's AMX, which is many times as fast in bfloat16 as in float32.

    AVX512-BF16 works on vectors like float32 instructions and is only twice as fast.
    """
    return torch.cpu.get_capabilities().get("amx_bf16", False)
