"""Official HiFi-GAN checkpoints: found on disk or in a package, checked, loaded, and written."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hifigan.finetuning.discriminators import Discriminators
from hifigan.generator import Generator
from pipeline.digests import sha256
from pipeline.errors import RecipeError
from pipeline.files import atomic_path
from pipeline.vocoder_files import locate

OFFICIAL_NAMES = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}
"""What the published code calls the parts of normed weights: the first two of weight norm."""


def verify(path: Path, expected_sha256: str) -> None:
    """Raise `RecipeError` if the file's checksum is another."""
    if (found := sha256(path)) != expected_sha256:
        raise RecipeError(
            f"vocoder file {path} is damaged or another file: its sha256 is {found}, not "
            f"{expected_sha256}; reinstall or fetch it again, or set vocoder.sha256=null if yours"
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
    weights = _fold_weight_norm(_read(checkpoint_path), checkpoint_path)
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


def load_trainable_generator(checkpoint_path: Path | str, config_path: Path | str) -> Generator:
    """As `load_generator`, but with weight norm, as it was trained, for more training."""
    checkpoint_path, config_path = locate(str(checkpoint_path)), locate(str(config_path))
    generator = _build(config_path)
    for module in list(generator.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight_norm(module)
    _load_official(generator, _read(checkpoint_path), f"{checkpoint_path} and {config_path}")
    return generator


def save_generator(path: Path, generator: Generator) -> None:
    """Write what `load_trainable_generator` and the published code load."""
    state = {
        name: value.squeeze(2) if value.ndim == 4 else value
        for name, value in _official_state(generator).items()
    }
    with atomic_path(path) as temporary:
        torch.save({"generator": state}, temporary)


def load_discriminators(path: Path | str) -> Discriminators:
    """Discriminators of an official `do_*`, `{"mpd": state_dict, "msd": state_dict, ...}`.

    Raises:
        RecipeError: it is missing, cannot be read, or is another kind of file.
    """
    if not Path(path).is_file():
        raise RecipeError(f"{path}, HiFi-GAN's discriminators (do_…), does not exist")
    states = {name: _read(Path(path), name) for name in ("mpd", "msd")}
    discriminators = Discriminators()
    for name, state in states.items():
        _load_official(getattr(discriminators, name), state, f"{path}, {name},")
    return discriminators


def save_discriminators(path: Path, discriminators: Discriminators) -> None:
    """Write what `load_discriminators` loads; the published code wants optimizers besides."""
    parts = {name: _official_state(getattr(discriminators, name)) for name in ("mpd", "msd")}
    with atomic_path(path) as temporary:
        torch.save(parts, temporary)


def _official_name(name: str) -> str:
    for ours, official in OFFICIAL_NAMES.items():
        if name.endswith(f".{ours}"):
            return name.removesuffix(ours) + official
    return name


def _official_state(module: nn.Module) -> dict[str, Tensor]:
    # Copies, since a view would be saved with all of what it is a view of.
    return {_official_name(key): value.cpu().clone() for key, value in module.state_dict().items()}


def _load_official(module: nn.Module, official: dict[str, Tensor], source: str) -> None:
    own = module.state_dict()
    names = {name: _official_name(name) for name in own}
    if missing := sorted(set(names.values()) - official.keys()):
        raise RecipeError(
            f"{source} cannot be trained further: {missing[0]} is missing. Is it of another "
            "version of HiFi-GAN, or was its weight norm removed?"
        )
    for name, value in own.items():
        given = official[names[name]]
        if given.squeeze().shape != value.squeeze().shape:
            raise RecipeError(
                f"{source} do not belong together: {names[name]} has shape {list(given.shape)}, "
                f"not {list(value.shape)}"
            )
        value.copy_(given.reshape(value.shape))


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


def _read(checkpoint_path: Path, key: str = "generator") -> dict[str, Tensor]:
    try:
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes happen to provoke
        raise RecipeError(
            f"vocoder checkpoint {checkpoint_path} cannot be read "
            f"({type(error).__name__}); fetch it again"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(key), dict):
        raise RecipeError(
            f"vocoder checkpoint {checkpoint_path} has no key `{key}`; is it a "
            f"{'discriminator' if key == 'generator' else 'generator'}'s? HiFi-GAN's generators "
            "are named g_… or generator_…, its discriminators do_…"
        )
    return checkpoint[key]


def _fold_weight_norm(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """w = g · v / ‖v‖, the norm being over all but the first dimension."""
    folded = {}
    for name, value in weights.items():
        if name.endswith("weight_g"):
            direction = weights.get(name.removesuffix("g") + "v")
            if direction is None:
                raise RecipeError(f"vocoder checkpoint {path} has {name} but no weight_v to it")
            norm = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
            folded[name.removesuffix("_g")] = direction * (value / norm)
        elif not name.endswith("weight_v"):
            folded[name] = value
    return folded


def _first_mismatch(error: RuntimeError) -> str:
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip()[:200]
