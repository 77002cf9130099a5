"""The real corpus through the real stages, once for all tests that need it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pipeline.configuration import register_resolvers

# Two processes of tests share two cores; threads of theirs would wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# What a shell may have set that changes what is printed, or makes one process a part of many.
for name in ("HYDRA_FULL_ERROR", "FORCE_COLOR", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS"):
    os.environ.pop(name, None)
for name in ("no_proxy", "NO_PROXY"):  # else a proxy is asked for the tests' own servers
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))

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


def kill_when(condition: Callable[[], bool], command: list[str], seconds: float = 300) -> None:
    """Start a command and kill it, with all its processes, as soon as the condition holds."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=PROJECT, start_new_session=True, **silent)
    deadline = time.monotonic() + seconds
    try:
        while not condition():
            assert process.poll() is None, f"{command} ended before it could be killed"
            assert time.monotonic() < deadline, f"{command} never came so far"
            time.sleep(0.005)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        ended = process.wait()
    assert ended == -signal.SIGKILL, f"{command} ended before it was killed"


class Hostile:
    """An object that makes a folder when it is unpickled, as an attacker's could do anything."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def composed(*overrides: str) -> DictConfig:
    """The configuration of a stage script that is given these overrides."""
    register_resolvers()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return compose("config", list(overrides))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_recipe.py")


@pytest.fixture(autouse=True)
def _arithmetic_as_before():
    """CTranslate2 sets OpenMP's threads for the whole process, and other bits come of two.

    Trainings flush denormals, without which hypothesis draws no floats.
    """
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].set_flush_denormal(False)


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
