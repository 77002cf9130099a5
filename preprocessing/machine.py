"""What a run was computed on."""

import platform
from pathlib import Path

import torch


def processor_name(device: torch.device | str = "cpu") -> str:
    """The model of the GPU, or of the CPU as Linux calls it; elsewhere its architecture."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
