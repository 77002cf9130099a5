"""The configuration that a run's overrides give."""

from collections.abc import Iterable

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import RecipeError
from pipeline.stages import evaluation_fingerprint


def evaluation_given(settings: Iterable[str]) -> str:
    """The fingerprint of the evaluation that these overrides give, with this command's recipe.

    Raises:
        RecipeError: they do not fit the configuration.
    """
    hydra_config = HydraConfig.get()
    recipe = f"recipe={hydra_config.runtime.choices.recipe}"
    places = [each for each in hydra_config.overrides.task if each.startswith("paths.")]
    try:
        config = compose("config", [recipe, *places, *search_path(), *settings])
        return evaluation_fingerprint(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise RecipeError(str(error)) from None


def search_path() -> list[str]:
    """This command's override of where configuration is looked for besides, if it has one."""
    hydra_overrides = HydraConfig.get().overrides.hydra
    return [each for each in hydra_overrides if each.startswith("hydra.searchpath=")]
