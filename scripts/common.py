"""What every stage script shares: where configuration is, and how a user's mistakes are told."""

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import hydra
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evaluation.collect import Run, finished_runs
from evaluation.fingerprints import evaluation_fingerprint
from evaluation.records import Record, current_records, read_runs
from fastspeech2.cap import cap_for
from preprocessing.errors import RecipeError

PROJECT = Path(__file__).resolve().parents[1]
LONGEST_NAME = 200  # bytes without the seed; file systems take 255


NOT_SETTINGS = (
    *("recipe", "name", "sweep", "seeds", "jobs", "records", "nonfinite", "samples"),
    *("output", "speed", "pitch", "energy", "backend"),
)
"""Overrides that do not change what a run computes, nor do those of `NOT_SETTINGS_BELOW`.

`nonfinite` decides whether a run goes on, and record.json counts the updates that it skipped.
"""
NOT_SETTINGS_BELOW = ("paths.", "parallel.", "sweep.", "listening.", "hydra.")
FIRST_SEED = "seed=0"
"""The default: a run that names it is the same as one that does not, and has the same folder."""


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
    """A run is named by its overrides (`seed=1,sparsity=constant`); without any, `default`."""
    settings = run_settings(overrides)
    name = ",".join(sorted(settings)).replace("/", "_")
    # Cut alike for every seed, so that runs can be grouped over seeds by their names.
    seeds = [each for each in settings if each.startswith("seed=")]
    rest = ",".join(sorted(each for each in settings if each not in seeds)).replace("/", "_")
    if len(rest.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(rest.encode()).hexdigest()[:16]
        cut = rest.encode()[: LONGEST_NAME - 17].decode(errors="ignore")
        name = ",".join([f"{cut}-{digest}", *seeds])
    return name or "default"


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


def current_runs(config: DictConfig, records: Iterable[Record] = ()) -> list[Run]:
    """Finished runs of today's settings and such of `records`; says which are left out, and why.

    Raises:
        RecipeError: none is left.
    """
    kept = []
    for group in (read_runs(Path(config.paths.experiment)), records):
        current, outdated = current_records(group, evaluation_given)
        for folder, reason in outdated.items():
            print(f"{folder} is left out: {reason}")
        kept.append(current)
    return finished_runs(*kept)


def stage_script(stage: Callable[[DictConfig], None]) -> Callable[[], None]:
    """Make `stage` a Hydra entry point whose `RecipeError`s are printed and exit with status 1."""

    @functools.wraps(stage)
    def guarded(config: DictConfig) -> None:
        # Here, since a launcher may call this in a process of its own.
        OmegaConf.register_new_resolver("cap_for", cap_for, replace=True)
        OmegaConf.register_new_resolver(
            "run_name", lambda: run_name(HydraConfig.get().overrides.task), replace=True
        )
        try:
            stage(config)
        except RecipeError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    return hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name="config")(
        guarded
    )
