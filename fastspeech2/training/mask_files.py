"""Masks in files, a bit for each weight. Imports stay light: figures read them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.files import atomic_path


def write_masks(path: Path, masks: Mapping[str, np.ndarray]) -> None:
    """Write {parameter name: bool array, True = kept} as an npz of bits and shapes."""
    packed = {f"{name}:bits": np.packbits(mask) for name, mask in masks.items()}
    shapes = {f"{name}:shape": np.array(mask.shape) for name, mask in masks.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, **packed, **shapes)


def read_masks(path: Path) -> dict[str, np.ndarray]:
    """What `write_masks` wrote."""
    with np.load(path) as saved:
        names = [key.removesuffix(":bits") for key in saved if key.endswith(":bits")]
        shapes = {name: saved[f"{name}:shape"] for name in names}
        return {
            name: np.unpackbits(saved[f"{name}:bits"], count=shape.prod())
            .reshape(shape)
            .astype(bool)
            for name, shape in shapes.items()
        }
