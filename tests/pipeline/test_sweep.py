"""Sweeps: which runs they have, what they report, and that a failed run stops no other."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import PROJECT, composed, run_script
from filelock import FileLock
from rich.console import Console

from fastspeech2.training.sparsity import sparsity_schedule
from pipeline.errors import RecipeError
from pipeline.records import keep_record
from pipeline.stages import EVALUATION
from pipeline.sweep import is_finished, leave_to_records, planned_runs, side_by_side
from pipeline.sweep_state import (
    SweepRun,
    read_state,
    read_sweeps,
    sweep_file,
    table,
    write_state,
)
from run import run_stages


@pytest.mark.parametrize(
    ("sweep", "systems"), [("demo", 3), ("paper", 5), ("grid", 9), ("ablation", 11)]
)
def test_every_run_of_every_sweep_can_be_trained(sweep, systems):
    config = composed(f"sweep={sweep}")
    assert len({tuple(run) for run in config.sweep.runs}) == len(config.sweep.runs) == systems
    settings = []
    for overrides in config.sweep.runs:
        run = composed(*overrides)
        schedule = sparsity_schedule(run.sparsity, run.trainer.updates)
        if run.sparsity.kind != "dense":
            assert max(schedule.upcoming(0)) < run.sparsity.cap
        settings.append(run.sparsity.plain())
    assert all(settings.count(each) == 1 for each in settings)


def test_starts_above_the_papers_cap_get_one_that_can_reach_them():
    assert composed("sparsity=decaying", "sparsity.start=0.6").sparsity.cap == 0.75
    assert composed("sparsity=decaying", "sparsity.start=0.8").sparsity.cap == 0.95
    assert composed("sparsity=constant", "sparsity.start=0.8").sparsity.cap == 0.95
    assert composed("sparsity=decaying", "sparsity.cap=1.0").sparsity.cap == 1.0


def test_seeds_are_outermost_and_the_first_shares_the_demos_folders():
    config = composed("sweep=paper", "seeds=2")
    names = [run.name for run in planned_runs(config, ["recipe=allison", "trainer.updates=100"])]
    assert len(names) == len(set(names)) == 2 * 5 + 2
    assert names[0] == "sparsity=dense,trainer.updates=100"
    assert names[5] == "seed=1,sparsity=dense,trainer.updates=100"
    assert names[-2:] == ["vocoded", "natural"]
    with pytest.raises(RecipeError, match="seeds=0: give a whole number of 1 or more"):
        planned_runs(composed("seeds=0"), [])
    with pytest.raises(RecipeError, match="named by their overrides, so leave it out"):
        planned_runs(config, ["name=all"])


def test_as_many_runs_as_cores():
    cores = len(os.sched_getaffinity(0))
    assert side_by_side(composed()) == cores
    assert side_by_side(composed("jobs=5")) == 5
    assert side_by_side(composed(f"trainer.threads={2 * cores}")) == 1
    assert side_by_side(composed("trainer=gpu")) == 1
    with pytest.raises(RecipeError, match="jobs=0: give a whole number of 1 or more or null"):
        side_by_side(composed("jobs=0"))
    with pytest.raises(RecipeError, match="one process each: set trainer.devices=1"):
        side_by_side(composed("trainer=ddp"))


def test_runs_with_a_current_record_are_not_redone(tmp_path):
    runs = planned_runs(composed("sweep=demo"), ["paths.data=elsewhere", "trainer.updates=100"])
    for run in runs:
        run.fingerprint = EVALUATION.fingerprint(composed(*run.settings))
    dense, constant, *_ = runs
    for run, fingerprint in ((dense, dense.fingerprint), (constant, "another")):
        evaluation = tmp_path / "exp" / run.name / "evaluation"
        evaluation.mkdir(parents=True)
        state = {"fingerprint": fingerprint, "complete": True}
        (evaluation / "stage.json").write_text(json.dumps(state))
        for name in ("metrics.json", "utterances.csv"):
            (evaluation / name).write_text("{}")
        keep_record(evaluation.parent, run.settings, tmp_path / "records")
    messages = leave_to_records(runs, tmp_path / "records")
    assert [run.state for run in runs] == ["recorded", *["waiting"] * 4]
    assert messages == [
        f"{dense.name}: recorded",
        f"{constant.name}: its record has other settings than today's",
    ]


def test_a_finished_run_needs_no_process_until_one_of_its_stages_is_gone(tmp_path):
    run = SweepRun(str(tmp_path), overrides=["sparsity=dense"], fingerprint="current")
    for stage in ("train", "synthesis", "evaluation"):
        (tmp_path / stage).mkdir()
        state = {"fingerprint": "current", "complete": True}
        (tmp_path / stage / "stage.json").write_text(json.dumps(state))
    assert is_finished(run)
    run.fingerprint = "of other settings"
    assert not is_finished(run)
    run.fingerprint = "current"
    shutil.rmtree(tmp_path / "train")
    assert not is_finished(run)
    reference = SweepRun(str(tmp_path), overrides=["system=natural"], fingerprint="current")
    assert is_finished(reference)


def test_status_shows_each_run(tmp_path):
    train = tmp_path / "a" / "train"
    train.mkdir(parents=True)
    (train / "stage.json").write_text("{}")
    progress = {"update": 40, "updates": 100, "loss": 1.25, "seconds_left": 3671.2}
    (train / "progress.json").write_text(json.dumps(progress))
    runs = [SweepRun(str(tmp_path / "a"), "running"), SweepRun(str(tmp_path / "b"))]
    write_state(sweep_file(tmp_path, "paper"), runs)
    console = Console(width=120, record=True, file=open(os.devnull, "w"))
    console.print(table(read_sweeps(tmp_path)["paper"]))
    lines = [line.replace("│", " ").split() for line in console.export_text().splitlines()]
    assert ["a", "running", "train", "40/100", "1.250", "1:01:11"] in lines
    assert ["b", "waiting"] in lines


def test_runs_of_a_killed_sweep_are_not_called_running(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    states = ("running", "waiting", "done", "failed")
    path = sweep_file(tmp_path, "demo")
    write_state(path, [SweepRun(state, state) for state in states])
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process": gone.pid}))
    assert [run.state for run in read_state(path)] == ["stopped", "stopped", "done", "failed"]
    with pytest.raises(RecipeError, match="no sweep in .*: start one with `make sweep`"):
        read_sweeps(tmp_path / "elsewhere")


def test_no_two_processes_work_on_one_run(tmp_path, monkeypatch):
    # The runs of a killed sweep keep running, and the next sweep would start them again.
    config = composed("system=natural", f"paths.run={tmp_path}")
    worked = []
    monkeypatch.setattr("run.vocode_stage", worked.append)
    monkeypatch.setattr("run.evaluate_stage", worked.append)
    lock = FileLock(tmp_path / "run.lock", thread_local=False)
    with lock, monkeypatch.context() as shorter:
        shorter.setattr("run.ENDING", 0.1)
        with pytest.raises(RecipeError, match="another process is at"):
            run_stages(config)
    assert not worked
    # A process that is just ending is waited for.
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    run_stages(config)
    assert worked == [config, config]


def test_every_failed_run_is_reported_at_the_end(tmp_path):
    paths = [f"paths.experiment={tmp_path}/exp", f"paths.data={tmp_path}/nothing"]
    result = run_script("sweep", "sweep=demo", *paths, "jobs=5")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    told = result.stderr.splitlines()
    assert told[0] == "error: 5 of 5 runs failed:"
    assert all("run `make stage3`" in line and "run.log" in line for line in told[1:6])
    shown = run_script("status", *paths)
    assert shown.returncode == 0 and shown.stdout.count("failed") == 5


def test_an_exception_in_a_run_is_reported_with_its_last_line(tmp_path):
    run = SweepRun(str(tmp_path), overrides=["system=natural", "paths.run=/dev/null/run"])
    run.start()
    run.process.wait()
    assert run.has_just_ended() and run.state == "failed"
    assert run.last_line() == "NotADirectoryError: [Errno 20] Not a directory: '/dev/null/run'"


def test_configuration_from_elsewhere_reaches_every_run(tmp_path):
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text("runs: [[sparsity=mine]]\n")
    (tmp_path / "conf" / "sparsity").mkdir()
    mine = tmp_path / "conf" / "sparsity" / "mine.yaml"
    paths = [f"paths.experiment={tmp_path}/exp", f"paths.data={tmp_path}/nothing"]
    elsewhere = f"hydra.searchpath=[file://{tmp_path}/conf]"
    mine.write_text("kind: ${no_such_key}\n")
    wrong = run_script("sweep", "sweep=mine", elsewhere, *paths)
    assert wrong.returncode == 1
    assert "sparsity=mine: sparsity.kind: Interpolation key 'no_such_key'" in wrong.stderr
    mine.write_text("kind: dense\n")
    result = run_script("sweep", "sweep=mine", elsewhere, *paths)
    told = result.stderr.splitlines()
    assert told[0] == "error: 3 of 3 runs failed:" and told[1].startswith(
        "  sparsity=mine: error: "
    )
    assert all("run `make stage3`" in line for line in told[1:4])


def test_runs_that_cannot_be_configured_are_reported_before_any_starts(tmp_path):
    runs = 'sweep.runs=[["sparsity=dense"],["sparsity=none"],["sparsity.begin=0.4"]]'
    result = run_script("sweep", runs, f"paths.experiment={tmp_path}")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "sparsity=none: choose one of alternating, constant" in result.stderr
    assert "sparsity.begin=0.4: there is no setting of this name" in result.stderr
    assert "sparsity=dense:" not in result.stderr and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_is_resumed_and_finished_ones_are_not_redone(prepared, tmp_path):
    # Hydra parses JSON's quotes too. The last run has no room for its schedule and has to fail.
    fails = ["sparsity=decaying", "sparsity.first_switch=0.5"]
    runs = json.dumps([["sparsity=dense"], ["sparsity=constant"], fails])
    overrides = [
        *prepared,
        *(f"paths.experiment={tmp_path}/exp", "sweep=demo", f"sweep.runs={runs}", "jobs=3"),
        *("trainer.updates=200", "trainer.val_every=20", "recipe.scoring_batches=5"),
        "evaluation.clips_per_set=1",
    ]
    command = [sys.executable, "scripts/sweep.py", *overrides]
    process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
    constant = next_folder(tmp_path / "exp", "constant", process)
    while not list(constant.glob("train/checkpoints/*.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process_of(constant), signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == 1 and "error: 2 of 5 runs failed:" in told
    assert "is too short for the sparsity levels" in told and constant.name in told
    dense = next_folder(tmp_path / "exp", "dense", process)
    finished = (dense / "train" / "model.pt").stat().st_mtime_ns

    again = run_script("sweep", *overrides)
    assert again.returncode == 1 and "error: 1 of 5 runs failed:" in again.stderr
    assert "resuming an unfinished training" in (constant / "run.log").read_text()
    assert (constant / "evaluation" / "metrics.json").exists()
    assert (dense / "train" / "model.pt").stat().st_mtime_ns == finished

    records = f"records={tmp_path}/records"
    kept = run_script("records", *overrides, records)
    assert kept.returncode == 0 and kept.stdout.count(": recorded") == 4, kept.stderr
    assert kept.stdout.count("not finished with these settings") == 1
    tables = [*prepared, f"paths.experiment={tmp_path}/exp"]
    told = run_script("stage7_tables", *tables, f"paths.results={tmp_path}/of-runs")
    assert told.returncode == 0, told.stderr
    shutil.rmtree(tmp_path / "exp")
    elsewhere = run_script("sweep", *overrides, records)
    assert "error: 1 of 5 runs failed:" in elsewhere.stderr
    assert elsewhere.stdout.count(": recorded") == 4
    assert not list((tmp_path / "exp").glob("*/evaluation"))
    told = run_script("stage7_tables", *tables, records, f"paths.results={tmp_path}/of-records")
    assert told.returncode == 0 and "4 of them from their records" in told.stdout, told.stderr
    written = [
        {path.name: path.read_bytes() for path in (tmp_path / results / "tables").iterdir()}
        for results in ("of-runs", "of-records")
    ]
    assert written[0] == written[1] and len(written[0]) > 20


def next_folder(experiment: Path, kind: str, sweep: subprocess.Popen) -> Path:
    while not (found := list(experiment.glob(f"*sparsity={kind}*"))):
        assert sweep.poll() is None
        time.sleep(0.05)
    return found[0]


def process_of(run: Path) -> int:
    """The process id of this run, found by its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        named = f'name="{run.name}"' in words and any(str(run.parent) in each for each in words)
        if named and any(each.endswith("scripts/run.py") for each in words):
            return int(path.parent.name)
    raise AssertionError(f"no process runs {run.name}")
