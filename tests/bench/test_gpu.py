"""The GPU benchmark, run on the CPU so that it works on the day that there is a GPU."""

import subprocess
import sys

import pytest
import torch
from conftest import PROJECT

import gpu

CPU = torch.device("cpu")


def test_the_cpu_does_not_differ_from_itself():
    values = dict(gpu.differences("tiny", CPU))
    assert float(values["loss, relative difference"]) == 0
    assert float(values["gradients, relative distance"]) == 0
    assert float(values["masks at 40 %, share that differs"]) == 0
    assert 0 < float(values["loss in bfloat16, relative difference"]) < 0.02


def test_a_difference_is_seen(monkeypatch):
    """If one weight changes on the way to the device, loss and gradients differ."""

    def altered(model):
        copy = gpu.build("tiny")
        with torch.no_grad():
            copy.mel_output.weight[0, 0] += 1
        return copy

    monkeypatch.setattr(gpu, "deepcopy", altered)
    values = dict(gpu.differences("tiny", CPU))
    assert float(values["loss, relative difference"]) > 1e-6
    assert float(values["gradients, relative distance"]) > 1e-6


@pytest.mark.parametrize("bfloat16", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_updates_are_sparse_and_timed(bfloat16):
    rows = dict(gpu.speed("tiny", CPU, bfloat16, updates=2))
    assert all(float(value.replace(",", "")) > 0 for value in rows.values())


def test_a_machine_without_a_gpu_is_told():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: run scripts/bench/gpu.py")
    command = [sys.executable, "scripts/bench/gpu.py"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("This machine has no GPU that PyTorch can use")
