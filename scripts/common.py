"""What every stage script shares: where configuration is, and how a user's mistakes are told."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from preprocessing.errors import RecipeError

PROJECT = Path(__file__).resolve().parents[1]


def run_name() -> str:
    """A run is named by its overrides (`sparsity=constant,seed=1`); without any, `default`."""
    return HydraConfig.get().job.override_dirname.replace("/", "_") or "default"


def stage_script(stage: Callable[[DictConfig], None]) -> Callable[[], None]:
    """Make `stage` a Hydra entry point whose `RecipeError`s are printed and exit with status 1."""
    OmegaConf.register_new_resolver("run_name", run_name, replace=True)

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
