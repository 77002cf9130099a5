"""Weights that fine-tuning starts from and writes, in the official formats of HiFi-GAN."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hifigan.checkpoint import build_generator, official_name, read_state
from hifigan.finetuning.discriminators import Discriminators
from hifigan.generator import Generator
from pipeline.errors import RecipeError
from pipeline.files import atomic_path
from pipeline.vocoder_files import locate


def load_trainable_generator(checkpoint_path: Path | str, config_path: Path | str) -> Generator:
    """Load a generator as `load_generator` does, but keep its weight norm, for more training."""
    checkpoint_path, config_path = locate(str(checkpoint_path)), locate(str(config_path))
    generator = build_generator(config_path)
    for module in list(generator.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight_norm(module)
    _load_official(generator, read_state(checkpoint_path), f"{checkpoint_path} and {config_path}")
    return generator


def save_generator(path: Path, generator: Generator) -> None:
    """Write a file that `load_trainable_generator` and the published code can load."""
    state = {
        name: value.squeeze(2) if value.ndim == 4 else value
        for name, value in _official_state(generator).items()
    }
    with atomic_path(path) as temporary:
        torch.save({"generator": state}, temporary)


def load_discriminators(path: Path | str) -> Discriminators:
    """Load the discriminators of an official `do_*`, `{"mpd": state_dict, "msd": state_dict, ...}`.

    Raises:
        RecipeError: the file is missing, cannot be read, or holds something else.
    """
    if not Path(path).is_file():
        raise RecipeError(f"the checkpoint of HiFi-GAN's discriminators, {path}, does not exist")
    states = {name: read_state(Path(path), name) for name in ("mpd", "msd")}
    discriminators = Discriminators()
    for name, state in states.items():
        _load_official(getattr(discriminators, name), state, f"{path}, {name},")
    return discriminators


def save_discriminators(path: Path, discriminators: Discriminators) -> None:
    """Write a file that `load_discriminators` loads; the published code needs optimizers too."""
    parts = {name: _official_state(getattr(discriminators, name)) for name in ("mpd", "msd")}
    with atomic_path(path) as temporary:
        torch.save(parts, temporary)


def _official_state(module: nn.Module) -> dict[str, Tensor]:
    # Copies, because torch saves the whole storage of a tensor that is a view.
    return {official_name(name): value.cpu().clone() for name, value in module.state_dict().items()}


def _load_official(module: nn.Module, official: dict[str, Tensor], source: str) -> None:
    """Copy official weights into a module, whose convolutions may have another dimension."""
    own = module.state_dict()
    names = {name: official_name(name) for name in own}
    if missing := sorted(set(names.values()) - official.keys()):
        raise RecipeError(
            f"{source} cannot be trained further: {missing[0]} is missing. Do they belong to "
            "another version of HiFi-GAN, or was the weight norm removed?"
        )
    for name, value in own.items():
        given = official[names[name]]
        if given.squeeze().shape != value.squeeze().shape:
            raise RecipeError(
                f"{source} do not belong together: {names[name]} has the shape "
                f"{list(given.shape)}, not {list(value.shape)}"
            )
        value.copy_(given.reshape(value.shape))
