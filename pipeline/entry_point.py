"""The Hydra entry point of every script, which reports a user's mistake without a traceback."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.errors import RecipeError
from pipeline.resolvers import cap_for
from pipeline.run_names import run_name

PROJECT = Path(__file__).resolve().parents[1]


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
