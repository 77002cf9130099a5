"""Sweeps by Hydra's launchers, with a killed run, equal the same runs one after another."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import PROJECT
from slurm import is_installed, one_machine_slurm

from pipeline.files import read_csv, read_json

SWEEP = ["sparsity=dense,decaying", "seed=0,1"]
SHORT = ["trainer.updates=60", "trainer.val_every=10", "recipe.scoring_batches=5"]
SECONDS = 1800


def command(prepared: list[str], folder: Path, *overrides: str) -> list[str]:
    settings = [*prepared, f"paths.experiment={folder}", *SHORT, *SWEEP, *overrides]
    return [sys.executable, "scripts/stage4_train.py", "-m", *settings]


def metrics(folder: Path) -> dict[str, tuple]:
    """Each run's table of losses, without times, and its weights."""
    found = {}
    for record in folder.glob("*/train/record.json"):
        rows = read_csv(record.parent / "metrics.csv")
        losses = [{key: row[key] for key in row if key != "seconds"} for row in rows]
        weights = torch.load(record.parent / "model.pt", weights_only=False)["model"]
        run = read_json(record)
        found[f"{run['sparsity']['kind']} {run['seed']}"] = (losses, weights)
    return found


def assert_same(folder: Path, reference: Path) -> None:
    found, expected = metrics(folder), metrics(reference)
    assert found.keys() == expected.keys() and len(found) == 4
    for run, (losses, weights) in found.items():
        assert losses == expected[run][0] and len(losses) == 6, run
        for name, tensor in weights.items():
            torch.testing.assert_close(tensor, expected[run][1][name], rtol=0, atol=0)


@pytest.fixture(scope="module")
def one_after_another(prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    subprocess.run(command(prepared, folder), cwd=PROJECT, check=True, timeout=SECONDS)
    return folder


def run_with_a_kill(arguments: list[str], folder: Path, kill: Callable[[str], None], environment):
    """Run a sweep, and call `kill` with the name of the first run that has a checkpoint."""
    log = folder.with_suffix(".log")
    with log.open("w") as file:
        sweep = subprocess.Popen(
            arguments, cwd=PROJECT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    deadline, killed = time.monotonic() + SECONDS, None
    try:
        while sweep.poll() is None and time.monotonic() < deadline:
            begun = sorted(folder.glob("*/train/checkpoints/*.ckpt"))
            if killed is None and begun:
                killed = begun[0].parents[2]
                assert not (killed / "train" / "record.json").exists(), "it ended too early"
                kill(killed.name)
            time.sleep(0.2)
    finally:
        sweep.terminate()
    printed = log.read_text()
    assert sweep.poll() == 0, printed
    assert killed, "no run was killed"
    return killed, printed


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="needs root, and Debian's slurm-wlm and munge")
def test_slurm_requeues_a_killed_run_that_resumes(prepared, one_after_another, tmp_path):
    folder = tmp_path / "exp"
    launcher = ["hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null"]
    launcher += ["hydra.launcher.mem_gb=null", "hydra.launcher.cpus_per_task=1"]
    with one_machine_slurm(tmp_path / "slurm") as environment:

        def requeue(run: str) -> None:
            task = 2 * ("sparsity=decaying" in run) + ("seed=1" in run)
            subprocess.run(["scontrol", "requeue", f"1_{task}"], env=environment, check=True)

        killed, _ = run_with_a_kill(
            command(prepared, folder, *launcher), folder, requeue, environment
        )
    logs = [log.read_text() for log in (folder / ".submitit").rglob("*_log.out")]
    resumed = [log for log in logs if "resuming an unfinished training" in log]
    assert len(resumed) == 1 and killed.name in resumed[0]
    assert_same(folder, one_after_another)


@pytest.mark.slow
def test_ray_retries_a_killed_run_that_resumes(prepared, one_after_another, tmp_path):
    folder = tmp_path / "exp"

    def kill(_: str) -> None:
        """Ray puts the task into the name of a process. With one processor, one process has it."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended by now
                if (process / "cmdline").read_bytes().startswith(b"ray::_run_job"):
                    os.kill(int(process.name), signal.SIGKILL)

    arguments = command(
        prepared, folder, "hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=1"
    )
    killed, printed = run_with_a_kill(arguments, folder, kill, os.environ)
    assert re.search("resuming an unfinished training", printed)
    assert_same(folder, one_after_another)
