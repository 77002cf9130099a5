"""Stage 3 and `make check` on local Ray and Dask clusters equal those on joblib's processes."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import changed, run_script
from slurm import free_port

from pipeline.errors import RecipeError
from pipeline.parallel import parallel_map
from pipeline.sections import ParallelSettings
from preprocessing.corpus.metadata import read_metadata

UTTERANCES = 40
PARALLEL = ParallelSettings(workers=2, backend="loky", address=None)


@pytest.fixture(scope="module")
def aligned(prepared, tmp_path_factory) -> list[str]:
    """Overrides of stages 1 and 2 on some prompts, one of which has lost its recording since."""
    data = Path(prepared[0].removeprefix("paths.data="))
    ids = [utterance.id for utterance in read_metadata(data / "corpus" / "metadata.csv")]
    folder = tmp_path_factory.mktemp("aligned")
    overrides = [f"paths.data={folder}", *prepared[1:]]
    overrides += [f"corpus.only=[{','.join(ids[:UTTERANCES])}]", "splits.test=4"]
    overrides += ["splits.validation=2", "check.leave_out=[sound_outside,wav_missing]"]
    for stage in ("stage1_download", "stage2_align"):
        done = run_script(stage, *overrides)
        assert done.returncode == 0, done.stderr
    (folder / "corpus" / "wavs" / f"{ids[7]}.wav").unlink()
    return overrides


def stage_3(aligned: list[str], folder: Path, *overrides: str) -> tuple[dict[str, bytes], str]:
    """The store's files, and the table of `make check`."""
    settings = [*aligned, f"paths.features={folder}", *overrides]
    for script in ("check", "stage3_features"):
        done = run_script(script, *settings)
        assert done.returncode == 0, done.stdout + done.stderr
    data = Path(aligned[0].removeprefix("paths.data="))
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return files, (data / "faults.csv").read_text()


@contextmanager
def running_dask() -> Iterator[str]:
    """A Dask scheduler with a worker, as if somebody else had started them; yields its address."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@contextmanager
def running_ray() -> Iterator[str]:
    """The same for Ray. It stays a child process, since `ray stop` would stop every Ray here."""
    ray, port = str(Path(sys.executable).with_name("ray")), free_port()
    start = [ray, "start", "--head", "--block", "--num-cpus=1", f"--port={port}"]
    process = subprocess.Popen([*start, "--include-dashboard=false"], stdout=subprocess.PIPE)
    try:
        assert any(b"runtime started" in line for line in process.stdout), "Ray did not start"
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("backend, running", [("ray", running_ray), ("dask", running_dask)])
def test_a_cluster_gives_the_same_bits(aligned, tmp_path, backend, running, monkeypatch):
    # By default Ray requires a token only if the user's home folder has one.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    expected = stage_3(aligned, tmp_path / "loky")
    assert "wav_missing" in expected[1] and len(expected[0]) > 8
    chosen = f"parallel.backend={backend}"
    assert stage_3(aligned, tmp_path / "started", chosen, "parallel.workers=2") == expected
    with running() as address:
        found = stage_3(aligned, tmp_path / "found", chosen, f"parallel.address='{address}'")
    assert found == expected


def test_results_come_in_order():
    arguments = [(np.full(3, i), i) for i in range(50)]
    sums = list(parallel_map(np.add, arguments, PARALLEL))
    assert [int(each[0]) for each in sums] == [2 * i for i in range(50)]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"backend": "spark"}, "backend=spark: choose one of loky, ray, dask"),
        ({"address": "auto"}, "parallel.address=auto needs a cluster"),
        ({"backend": "ray"}, "needs the package ray, which is not installed: run `make cluster`"),
        ({"backend": "dask"}, "needs the package distributed, which is not installed"),
    ],
)
def test_unusable_backends_are_reported(monkeypatch, changes, message):
    for package in ("ray", "distributed"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(RecipeError, match=message):
        list(parallel_map(np.add, [(1, 2)], changed(PARALLEL, **changes)))


@pytest.mark.slow
def test_a_missing_cluster_is_reported():
    absent = changed(PARALLEL, backend="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(
        RecipeError, match="cannot connect to Dask at parallel.address=tcp://127.0.0.1"
    ):
        list(parallel_map(np.add, [(1, 2)], absent))
