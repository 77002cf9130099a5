"""Files of masks with one bit for each weight. Reading them does not import torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.files import atomic_path


def write_masks(path: Path, masks: Mapping[str, Any]) -> None:
    """Write {parameter name: bool tensor, True = kept} as an npz of bits and shapes."""
    from sniper.bitmask import pack

    bits = {f"{name}:bits": pack(mask).cpu().numpy() for name, mask in masks.items()}
    shapes = {f"{name}:shape": np.array(mask.shape, np.int64) for name, mask in masks.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, **bits, **shapes)


def read_masks(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_masks` has written, as {parameter name: bool array, True = kept}."""
    with np.load(path) as saved:
        names = [key.removesuffix(":bits") for key in saved if key.endswith(":bits")]
        shapes = {name: saved[f"{name}:shape"] for name in names}
        return {
            name: np.unpackbits(saved[f"{name}:bits"], count=shape.prod(), bitorder="little")
            .reshape(shape)
            .astype(bool)
            for name, shape in shapes.items()
        }
