"""Runs the real stages on the real corpus, once for all tests that need them."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from omegaconf import OmegaConf

from evaluation.settings import Settings
from pipeline.configuration import compose
from pipeline.settings import checked

# pytest runs two processes on two cores, so more threads would only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
# Variables of the user's shell that would change what is printed, or make a process one of several.
for name in ("HYDRA_FULL_ERROR", "FORCE_COLOR", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS"):
    os.environ.pop(name, None)
for name in ("no_proxy", "NO_PROXY"):  # keeps requests to the tests' own servers from a proxy
    os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))

PROJECT = Path(__file__).resolve().parents[1]
TEXTGRIDS = PROJECT / "tests" / "data" / "allison_textgrids.zip"
"""The TextGrids that `aligner=viter` makes of the whole corpus in half a minute."""


def run_script(name: str, *overrides: str, **options) -> subprocess.CompletedProcess:
    """Run a script as a user does."""
    return subprocess.run(
        [sys.executable, f"scripts/{name}.py", *overrides],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        **options,
    )


def kill_when(condition: Callable[[], bool], command: list[str], seconds: float = 300) -> None:
    """Start a command, and kill it and all its processes as soon as a condition holds."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=PROJECT, start_new_session=True, **silent)
    deadline = time.monotonic() + seconds
    try:
        while not condition():
            assert process.poll() is None, f"{command} ended before it could be killed"
            assert time.monotonic() < deadline, f"{command} did not get there in {seconds} s"
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


def composed(*overrides: str) -> Settings:
    """The checked configuration of a script with these overrides."""
    return compose(Settings, overrides)


def section(kind: Any, file: str, **changes: Any) -> Any:
    """The checked section of a file in conf/, with changes to its settings."""
    return checked(kind, OmegaConf.to_container(OmegaConf.load(PROJECT / "conf" / file)) | changes)


def changed(config: Any, **changes: Any) -> Any:
    """A checked copy with other settings; `corpus__source` means `corpus.source`."""
    values = config.plain()
    for name, value in changes.items():
        *sections, last = name.split("__")
        place = values
        for each in sections:
            place = place[each]
        place[last] = value
    return checked(type(config), values)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest file first, so that it is not left to one process at the end."""
    items.sort(key=lambda item: item.path.name != "test_recipe.py")


@pytest.fixture(autouse=True)
def _arithmetic_as_before():
    """Undo what tests change for the whole process.

    CTranslate2 sets the number of OpenMP's threads, and two threads compute other bits than one.
    Trainings flush denormals, and hypothesis refuses to draw floats then.
    """
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, worker_id) -> list[str]:
    """The overrides with which later stages find the results of stages 1 to 3 on `allison`."""
    base = tmp_path_factory.getbasetemp()
    # The processes of a test session share the results, which the first of them makes.
    folder = (base if worker_id == "master" else base.parent) / "allison"
    overrides = [
        f"paths.data={folder}",
        # Downloads are shared with `make demo`. Their checksums are verified each time.
        "paths.downloads=data/allison/downloads",
        "aligner=textgrid",
        f"aligner.source={TEXTGRIDS}",
    ]
    with FileLock(f"{folder}.lock"):
        for stage in ("stage1_download", "stage2_align", "stage3_features"):
            result = run_script(stage, *overrides)
            assert result.returncode == 0, f"{stage}:\n{result.stdout}{result.stderr}"
    return overrides


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "this test opens the page in Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        yield playwright.chromium.launch(executable_path=chromium, args=arguments)
