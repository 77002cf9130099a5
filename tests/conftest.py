"""The real corpus through the real stages, once for all tests that need it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from fastspeech2.cap import cap_for

# Two processes of tests share two cores; threads of theirs would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"

PROJECT = Path(__file__).resolve().parents[1]
TEXTGRIDS = PROJECT / "tests" / "data" / "allison_textgrids.zip"
"""Stage 2's result on the whole corpus by `aligner=viter`, which takes half a minute to make."""


def run_script(name: str, *overrides: str, **options) -> subprocess.CompletedProcess:
    """Run a stage script as its user does."""
    return subprocess.run(
        [sys.executable, f"scripts/{name}.py", *overrides],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        **options,
    )


def composed(*overrides: str) -> DictConfig:
    """The configuration of a stage script that is given these overrides."""
    OmegaConf.register_new_resolver("cap_for", cap_for, replace=True)
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("config", list(overrides))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_recipe.py")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, worker_id) -> list[str]:
    """Stages 1 to 3 on corpus `allison`: the overrides by which later stages find its features."""
    base = tmp_path_factory.getbasetemp()
    # Processes of one test session share what the first of them made.
    folder = (base if worker_id == "master" else base.parent) / "allison"
    overrides = [
        f"paths.data={folder}",
        # Downloads are shared with `make demo`: they are verified by checksum each time.
        "paths.downloads=data/allison/downloads",
        "aligner=textgrid",
        f"aligner.source={TEXTGRIDS}",
    ]
    with FileLock(f"{folder}.lock"):
        for stage in ("stage1_download", "stage2_align", "stage3_features"):
            result = run_script(stage, *overrides)
            assert result.returncode == 0, f"{stage}:\n{result.stdout}{result.stderr}"
    return overrides
