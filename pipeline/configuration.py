"""The Hydra configuration: entry points of scripts, resolvers, run names, other runs' settings."""

import functools
import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from numbers import Real
from pathlib import Path
from typing import TypeVar

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from pipeline.errors import RecipeError
from pipeline.overrides import wrong_overrides
from pipeline.sections import PipelineSettings
from pipeline.settings import read_settings
from pipeline.stages import EVALUATION

Kind = TypeVar("Kind", bound=PipelineSettings)

PROJECT = Path(__file__).resolve().parents[1]
RESOURCES = PROJECT if (PROJECT / "conf").is_dir() else PROJECT / "sniper_tts"
"""Has conf/, recipes/, scripts/ and voices/: a checkout, or what a wheel installs of one."""
CAPS = (0.75, 0.95, 1.0)
"""Choices for the largest sparsity of a single tensor. The paper's is 0.75; 1 is no cap."""
LONGEST_NAME = 200
"""In bytes and without the seed. File systems take 255."""
NOT_SETTINGS = (
    *("recipe", "name", "sweep", "seeds", "jobs", "records", "nonfinite", "samples", "logger"),
    *("recipe.source", "recipe.licence"),
)
"""Overrides that do not change what a run computes. Those of `NOT_SETTINGS_BELOW` do not either.

`nonfinite` decides whether a run goes on, and record.json counts the updates that it skipped.
"""
NOT_SETTINGS_BELOW = (
    *("paths.", "parallel.", "sweep.", "logger.", "app.", "listening.", "say.", "inference."),
    "hydra.",
)
FIRST_SEED = "seed=0"
"""The default. A run with this override is the same as one without and has the same folder."""


def hydra_main(function: Callable[[Kind], None], kind: type[Kind]) -> None:
    """Run a script's function as a Hydra application, with its checked configuration.

    A `RecipeError` is printed without a traceback, and the script exits with status 1. Wrong
    overrides and settings are all told at once.

    Args:
        function: of the configuration.
        kind: the sections of the whole configuration.
    """

    @functools.wraps(function)
    def guarded(config: DictConfig) -> None:
        # Here rather than outside, since a launcher may call this in a process of its own.
        register_resolvers()
        try:
            function(_read(kind, config))
        except RecipeError as error:
            _end(error)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing a hint
    conf = str(RESOURCES / "conf")
    try:
        hydra.main(version_base="1.3", config_path=conf, config_name="config")(guarded)()
    except HydraException as error:
        arguments = hydra._internal.utils.get_args_parser().parse_args()
        try:
            compose(kind, arguments.overrides)
        except RecipeError as wrong:
            _end(wrong)
        _end(error)


def _end(error: Exception) -> None:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(1) from None


def compose(kind: type[Kind], overrides: Iterable[str]) -> Kind:
    """The checked configuration of these overrides.

    Raises:
        RecipeError: overrides are wrong; names all of them.
    """
    register_resolvers()
    overrides, conf = list(overrides), str(RESOURCES / "conf")
    inside = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside else hydra.initialize_config_dir(conf, version_base="1.3"):
        try:
            config = hydra.compose("config", overrides)
        except HydraException:
            raise wrong_overrides(kind, overrides) from None
    if not any(each.startswith("name=") for each in overrides):
        config.name = run_name(overrides)
    return _read(kind, config)


def _read(kind: type[Kind], config: DictConfig) -> Kind:
    if not Path(config.recipe.folder).exists():  # outside a checkout
        config.recipe.folder = str(RESOURCES / config.recipe.folder)
    return read_settings(kind, config)


def register_resolvers() -> None:
    """Register the functions that conf/ calls."""
    OmegaConf.register_new_resolver("cap_for", cap_for, replace=True)
    OmegaConf.register_new_resolver("run_name", lambda: run_name(task_overrides()), replace=True)


def cap_for(sparsity: float) -> float:
    """The first of `CAPS` that is above `sparsity`, so that this sparsity can be reached."""
    if not isinstance(sparsity, Real):
        return CAPS[-1]  # the sparsity schedule will refuse it
    return next((cap for cap in CAPS if sparsity < cap), CAPS[-1])


def run_settings(overrides: Iterable[str]) -> list[str]:
    """The overrides that change what a run computes, in their order."""
    settings = []
    for override in overrides:
        key = override.split("=")[0].lstrip("+~")
        if key in NOT_SETTINGS or key.startswith(NOT_SETTINGS_BELOW) or override == FIRST_SEED:
            continue
        settings.append(override)
    return settings


def run_name(overrides: Iterable[str]) -> str:
    """A run's settings in order, such as `seed=1,sparsity=constant`; `default` if it has none."""
    settings = run_settings(overrides)
    name = ",".join(sorted(settings)).replace("/", "_")
    # Runs are grouped over seeds by their names, so the seed must not change where a name is cut.
    seeds = [each for each in settings if each.startswith("seed=")]
    rest = ",".join(sorted(each for each in settings if each not in seeds)).replace("/", "_")
    if len(rest.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(rest.encode()).hexdigest()[:16]
        cut = rest.encode()[: LONGEST_NAME - 17].decode(errors="ignore")
        name = ",".join([f"{cut}-{digest}", *seeds])
    return name or "default"


def task_overrides() -> list[str]:
    """The overrides on this script's command line, without those of Hydra itself."""
    return list(HydraConfig.get().overrides.task)


def search_path() -> list[str]:
    """This script's override of Hydra's search path, if there is one."""
    hydra_overrides = HydraConfig.get().overrides.hydra
    return [each for each in hydra_overrides if each.startswith("hydra.searchpath=")]


def evaluation_fingerprint(kind: type[PipelineSettings], settings: Iterable[str]) -> str:
    """The fingerprint of stage 6 for these settings, under this script's recipe and paths.

    Raises:
        RecipeError: the settings do not fit the configuration.
    """
    recipe = f"recipe={HydraConfig.get().runtime.choices.recipe}"
    paths = [each for each in task_overrides() if each.startswith("paths.")]
    return EVALUATION.fingerprint(compose(kind, [recipe, *paths, *search_path(), *settings]))
