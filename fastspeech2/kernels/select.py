"""Which kernels run. Hardware, precision and sizes decide here and nowhere else.

A faster way runs only where BENCHMARKS.md shows its gain for a model of this repository. The
setting `kernels=plain` turns all of them off.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pipeline.hardware import multiplies_tiles

FASTER = frozenset(
    (
        "attention",
        "dropout",
        "length_groups",
        "neighbours",
        "padded_rows",
        "toom_cook",
    )
)
"""Names of the faster ways, one for each `use_...` below."""
WIDE = 256
"""Toom-Cook convolution gains from this many channels on, of inputs and of outputs."""
LONG = 7
"""From this kernel size on, Toom-Cook in float32 beats AVX512-BF16 matmuls."""

_enabled = FASTER  # not a ContextVar, which torch.compile cannot trace


@contextmanager
def faster_kernels(names: frozenset[str]) -> Iterator[None]:
    """Let only these faster ways run in the block."""
    global _enabled
    before, _enabled = _enabled, names
    try:
        yield
    finally:
        _enabled = before


def choose_kernels(setting: str) -> None:
    """Follow the setting `kernels`: `fast` or `plain`, from here on.

    Raises:
        RecipeError: it is neither.
    """
    global _enabled
    _enabled = FASTER if setting == "fast" else frozenset()


def bfloat16_on_cpu(x: Tensor) -> bool:
    """Whether autocast turns matmuls of `x` into bfloat16 matmuls on a CPU."""
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def use_padded_rows(x: Tensor) -> bool:
    return "padded_rows" in _enabled and bfloat16_on_cpu(x)


def use_drawn_bits(x: Tensor) -> bool:
    return "dropout" in _enabled and x.device.type == "cpu"


def use_two_matmuls(x: Tensor) -> bool:
    return "attention" in _enabled and x.device.type == "cpu" and not torch.jit.is_tracing()


def use_length_groups(device: torch.device) -> bool:
    """Whether attention is computed over groups of sequences of similar length.

    A trace would fix the number of groups, and on a GPU several small products cost more than the
    padding that they save.
    """
    on_cpu = device.type == "cpu"
    return "length_groups" in _enabled and on_cpu and not torch.jit.is_tracing()


def use_neighbours(x: Tensor) -> bool:
    return "neighbours" in _enabled and x.device.type == "cpu"


def use_toom_cook(x: Tensor, weight: Tensor, longest: int, training: bool) -> bool:
    """Whether a convolution is computed by Toom and Cook's algorithm, in training only.

    Its tiles mix neighbouring utterances, whose frames cancel only up to rounding, and in
    evaluation no utterance may depend on what it is batched with.
    """
    outputs, inputs, kernel = weight.shape
    if "toom_cook" not in _enabled or not training or x.device.type != "cpu" or len(x) != 1:
        return False
    if min(inputs, outputs) < WIDE or kernel > longest:
        return False
    if bfloat16_on_cpu(x):
        return kernel >= LONG and not multiplies_tiles() and weight.dtype == torch.float32
    return x.dtype == torch.float32
