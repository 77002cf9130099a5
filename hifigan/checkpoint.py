"""Official HiFi-GAN checkpoints: found on disk or in an installed package, checked, and loaded."""

import hashlib
import json
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from hifigan.generator import Generator
from preprocessing.errors import RecipeError

PACKAGE = "package:"


def locate(location: str) -> Path:
    """The file at `location`: a path, or `package:<distribution>/<file in its wheel>`.

    The package is not imported. Raises `RecipeError` if package or file is missing.
    """
    if not location.startswith(PACKAGE):
        path = Path(location)
        if not path.is_file():
            raise RecipeError(
                f"vocoder file {path} does not exist; set vocoder.checkpoint and vocoder.config to "
                "an official HiFi-GAN checkpoint and its config.json, or choose "
                "vocoder=hifigan_universal or vocoder=griffin_lim"
            )
        return path
    distribution, _, inside = location.removeprefix(PACKAGE).partition("/")
    try:
        path = Path(metadata.distribution(distribution).locate_file(inside))
    except metadata.PackageNotFoundError:
        raise RecipeError(
            f"the package {distribution}, which carries the vocoder's weights, is not installed; "
            "install requirements.txt (make setup)"
        ) from None
    if not path.is_file():
        raise RecipeError(
            f"vocoder file {inside} is not in the installed package {distribution} "
            f"({path} does not exist); reinstall it, or check vocoder.checkpoint"
        )
    return path


def verify(path: Path, sha256: str) -> None:
    """Raise `RecipeError` if the file's checksum is another."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise RecipeError(
            f"vocoder file {path} is damaged or another file: its sha256 is {found}, expected "
            f"{sha256}; reinstall or fetch it again, or set vocoder.sha256=null if it is yours"
        )


def load_generator(checkpoint_path: Path | str, config_path: Path | str) -> Generator:
    """A generator with official weights, in evaluation mode, its weight norm folded.

    Args:
        checkpoint_path: official format, `{"generator": state_dict}` with weight-norm pairs
            `<name>.weight_g` and `<name>.weight_v`; V1, V2 or V3.
        config_path: the official `config.json` that belongs to it.

    Returns:
        A module from `[batch, mels, frames]` to `[batch, 1, samples]`.

    Raises:
        RecipeError: a file is missing, cannot be read, or the two do not belong together.
    """
    checkpoint_path, config_path = locate(str(checkpoint_path)), locate(str(config_path))
    generator = _build(config_path)
    weights = _fold_weight_norm(_read(checkpoint_path))
    # The official convolutions are 1-d; ours are 2-d of height 1.
    weights = {name: w.unsqueeze(2) if w.ndim == 3 else w for name, w in weights.items()}
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise RecipeError(
            f"vocoder checkpoint {checkpoint_path} does not fit {config_path}: are they of the "
            f"same version of HiFi-GAN? {_first_mismatch(error)}"
        ) from None
    return generator.eval().requires_grad_(False)


def _build(config_path: Path) -> Generator:
    try:
        return Generator(json.loads(config_path.read_text("utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"vocoder config {config_path} is not JSON: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(
            f"vocoder config {config_path} is not a HiFi-GAN config.json: "
            f"{type(error).__name__}: {error}"
        ) from None


def _read(checkpoint_path: Path) -> dict[str, Tensor]:
    try:
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes happen to provoke
        raise RecipeError(
            f"vocoder checkpoint {checkpoint_path} cannot be read "
            f"({type(error).__name__}); fetch it again"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("generator"), dict):
        raise RecipeError(
            f"vocoder checkpoint {checkpoint_path} has no key `generator`; is it a discriminator's "
            "(do_…)? HiFi-GAN's generators are named g_… or generator_…"
        )
    return checkpoint["generator"]


def _fold_weight_norm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """w = g · v / ‖v‖, the norm being over all but the first dimension."""
    folded = {}
    for name, value in weights.items():
        if name.endswith("weight_g"):
            direction = weights[name.removesuffix("g") + "v"]
            norm = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
            folded[name.removesuffix("_g")] = direction * (value / norm)
        elif not name.endswith("weight_v"):
            folded[name] = value
    return folded


def _first_mismatch(error: RuntimeError) -> str:
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip()[:200]
