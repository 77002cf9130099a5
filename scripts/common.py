"""What every stage script shares: where configuration is, and how a user's mistakes are told."""

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from preprocessing.errors import RecipeError

PROJECT = Path(__file__).resolve().parents[1]
LONGEST_NAME = 200  # bytes; file systems take 255


NOT_SETTINGS = (
    *("recipe", "name", "sweep", "jobs", "nonfinite"),
    *("output", "speed", "pitch", "energy", "backend"),
)
"""Overrides that do not change what a run computes, nor do those of `paths.*`."""


def run_name(overrides: Iterable[str]) -> str:
    """A run is named by its overrides (`seed=1,sparsity=constant`); without any, `default`."""
    settings = []
    for override in overrides:
        key = override.split("=")[0].lstrip("+~")
        if key not in NOT_SETTINGS and not key.startswith("paths."):
            settings.append(override)
    name = ",".join(sorted(settings)).replace("/", "_") or "default"
    if len(name.encode()) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        name = f"{name.encode()[: LONGEST_NAME - 17].decode(errors='ignore')}-{digest}"
    return name


def stage_script(stage: Callable[[DictConfig], None]) -> Callable[[], None]:
    """Make `stage` a Hydra entry point whose `RecipeError`s are printed and exit with status 1."""
    OmegaConf.register_new_resolver(
        "run_name", lambda: run_name(HydraConfig.get().overrides.task), replace=True
    )

    @functools.wraps(stage)
    def guarded(config: DictConfig) -> None:
        try:
            stage(config)
        except RecipeError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    return hydra.main(version_base="1.3", config_path=str(PROJECT / "conf"), config_name="config")(
        guarded
    )
