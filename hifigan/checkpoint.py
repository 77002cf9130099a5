"""Reading HiFi-GAN's official checkpoints. What fine-tuning needs is in `finetuning/weights.py`."""

import json
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor

from hifigan.generator import Generator
from pipeline.digests import sha256
from pipeline.errors import RecipeError
from pipeline.vocoder_files import locate

OFFICIAL_NAMES = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}
"""What the official checkpoints call torch's parts of a normalised weight.

The first two belong to weight norm, the others to spectral norm.
"""


def official_name(name: str) -> str:
    """Return what the official checkpoints call a weight; an official name stays as it is.

    The names differ because torch has renamed the parts of normalised weights since then.
    """
    for current, official in OFFICIAL_NAMES.items():
        if name.endswith(f".{current}"):
            return name.removesuffix(current) + official
    return name


def verify(path: Path, expected_sha256: str) -> None:
    """Raise `RecipeError` if the file has another checksum."""
    if (found := sha256(path)) != expected_sha256:
        raise RecipeError(
            f"the vocoder file {path} is damaged, or is not the expected file: its sha256 is "
            f"{found}, not {expected_sha256}; reinstall it or download it again, or set "
            "vocoder.sha256=null if the file is your own"
        )


def load_generator(checkpoint_path: Path | str, config_path: Path | str) -> Generator:
    """Load a generator for inference: in evaluation mode, with its weight norm folded.

    Args:
        checkpoint_path: a checkpoint of V1, V2 or V3 in the official format,
            `{"generator": state_dict}`, with pairs `<name>.weight_g` and `<name>.weight_v`.
        config_path: the official `config.json` that belongs to it.

    Returns:
        A module from `[batch, mels, frames]` to `[batch, 1, samples]`.

    Raises:
        RecipeError: a file is missing or cannot be read, or the two do not belong together.
    """
    checkpoint_path, config_path = locate(str(checkpoint_path)), locate(str(config_path))
    generator = build_generator(config_path)
    weights = _fold_weight_norm(read_state(checkpoint_path), checkpoint_path)
    # The official convolutions are 1-d; ours are 2-d convolutions of height 1.
    weights = {name: w.unsqueeze(2) if w.ndim == 3 else w for name, w in weights.items()}
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise RecipeError(
            f"the vocoder checkpoint {checkpoint_path} does not fit {config_path}: do they belong "
            f"to the same version of HiFi-GAN? {_first_mismatch(error)}"
        ) from None
    return generator.eval().requires_grad_(False)


def build_generator(config_path: Path) -> Generator:
    """Build the generator that an official `config.json` describes, with random weights."""
    try:
        return Generator(json.loads(config_path.read_text("utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"the vocoder's config {config_path} is not JSON: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(
            f"the vocoder's config {config_path} is not a config.json of HiFi-GAN: "
            f"{type(error).__name__}: {error}"
        ) from None


def read_state(checkpoint_path: Path, key: str = "generator") -> dict[str, Tensor]:
    """Read one state dict of an official checkpoint, with the official names of its weights.

    Args:
        key: "generator", or "mpd" or "msd" in a checkpoint of the discriminators.

    Raises:
        RecipeError: the file cannot be read, or does not have this key.
    """
    try:
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can make torch raise any kind of error
        raise RecipeError(
            f"the vocoder checkpoint {checkpoint_path} cannot be read "
            f"({type(error).__name__}); {_advice(checkpoint_path)}"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), dict):
        other = "discriminators" if key == "generator" else "generator"
        raise RecipeError(
            f"the vocoder checkpoint {checkpoint_path} has no key `{key}`: does it hold the "
            f"{other}? HiFi-GAN names generators g_… or generator_…, and discriminators do_…"
        )
    return {official_name(name): value for name, value in checkpoint[key].items()}


def _advice(checkpoint_path: Path) -> str:
    """Say what to do about a file that torch cannot read."""
    if is_zipfile(checkpoint_path):
        with ZipFile(checkpoint_path) as archive:
            names = archive.namelist()
        if not any(name.endswith("data.pkl") for name in names):  # torch's own files are zip files
            return f"it is a zip archive: unpack it and name the checkpoint in it ({names[:3]})"
    return "download it again"


def _fold_weight_norm(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Compute w = g · v / ‖v‖, where the norm is over all dimensions but the first."""
    folded = {}
    for name, value in weights.items():
        if name.endswith("weight_g"):
            direction = weights.get(name.removesuffix("g") + "v")
            if direction is None:
                raise RecipeError(
                    f"the vocoder checkpoint {path} has {name}, but not the weight_v that belongs "
                    "to it"
                )
            norm = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
            folded[name.removesuffix("_g")] = direction * (value / norm)
        elif not name.endswith("weight_v"):
            folded[name] = value
    return folded


def _first_mismatch(error: RuntimeError) -> str:
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip()[:200]
