"""The lines that a sweep prints where there is no terminal."""

import json
import time
from pathlib import Path

import pytest

from pipeline.sweep_progress import SECONDS_BETWEEN_LINES, SweepProgress, work_done, work_planned
from pipeline.sweep_state import SweepRun


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def reach(run: SweepRun, stage: str, **progress) -> None:
    """Let the run's folder look as if this stage were running."""
    folder = Path(run.folder) / stage
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stage.json").write_text("{}")
    if progress:
        (folder / "progress.json").write_text(json.dumps(progress))


def test_a_line_tells_each_running_run_and_the_time_left_of_the_whole_sweep(tmp_path, clock):
    runs = [SweepRun(str(tmp_path / "dense"), "running"), SweepRun(str(tmp_path / "constant"))]
    progress = SweepProgress(runs)
    assert progress.line() is None
    clock[0] += SECONDS_BETWEEN_LINES
    assert "dense starting; 1 waiting; time left not known yet" in progress.line()
    assert progress.line() is None

    reach(runs[0], "train", update=500, updates=1000, loss=1.25, seconds_left=30)
    clock[0] += 30
    # Half a training in 50 s. The rest is half a training, its last stages, and a whole run.
    left = (2 * work_planned(runs[0]) - 0.5) * 100
    minutes, seconds = divmod(round(left), 60)
    expected = f"dense update 500/1000, loss 1.250; 1 waiting; about 0:{minutes:02d}:{seconds:02d}"
    assert expected in progress.line()
    clock[0] += 30  # no progress: the estimate counts down
    minutes, seconds = divmod(round(left - 30), 60)
    assert f"about 0:{minutes:02d}:{seconds:02d} left" in progress.line()


def test_work_grows_stage_by_stage_and_references_have_no_training(tmp_path):
    run = SweepRun(str(tmp_path / "dense"), "running")
    reference = SweepRun(str(tmp_path / "natural"), "running", ["system=natural"])
    assert work_planned(run) == pytest.approx(work_planned(reference) + 1)
    seen = [work_done(run)]
    for stage in ("train", "synthesis", "evaluation"):
        reach(run, stage)
        seen.append(work_done(run))
    run.state = "done"
    seen.append(work_done(run))
    assert seen == sorted(seen) and seen[2] == 1 and seen[-1] == work_planned(run)
    reach(reference, "synthesis")
    assert work_done(reference) == 0
    reach(reference, "evaluation")
    assert work_done(reference) == pytest.approx(seen[3] - 1)
