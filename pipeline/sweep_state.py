"""The runs of a sweep: their processes, the file that says how far they are, and `make status`."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from pipeline.configuration import RESOURCES, run_settings
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json
from pipeline.locks import is_alive
from pipeline.sections import PipelineSettings

STAGES = ("train", "synthesis", "evaluation")
"""Folders of a run, in the order in which its stages fill them."""


@dataclass
class SweepRun:
    """One run of a sweep. Only its folder and state are known to other processes."""

    folder: str
    state: str = "waiting"
    """waiting, running, done, failed, recorded, or stopped if its sweep's process has ended"""
    overrides: list[str] = field(default_factory=list)
    fingerprint: str = ""
    """of its evaluation"""
    process: subprocess.Popen | None = None

    @property
    def name(self) -> str:
        return Path(self.folder).name

    @property
    def settings(self) -> list[str]:
        """The overrides that a record keeps."""
        return run_settings(self.overrides)

    @property
    def log(self) -> Path:
        return Path(self.folder) / "run.log"

    def start(self) -> None:
        """Start stages 4 to 6 of the run in a process of its own."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(RESOURCES / "scripts" / "run.py"), *self.overrides],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.state = "running"

    def has_just_ended(self) -> bool:
        """Whether the process has ended since the last call; sets the state if so."""
        if self.state != "running" or self.process.poll() is None:
            return False
        self.state = "done" if self.process.returncode == 0 else "failed"
        return True

    def stage(self) -> str:
        """The stage that is running or ran last; empty before the first."""
        begun = [each for each in STAGES if (Path(self.folder) / each / "stage.json").exists()]
        return begun[-1] if begun else ""

    def training(self) -> dict:
        """The training's progress.json: update, updates, loss, seconds_left; or nothing."""
        path = Path(self.folder) / "train" / "progress.json"
        return read_json(path) if path.exists() else {}

    def last_line(self) -> str:
        """The last line of the run's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else ""


def sweep_file(experiment: Path, sweep: str) -> Path:
    """The file that holds the state of a sweep, by the sweep's name."""
    return experiment / f"{sweep}.sweep.json"


def write_state(path: Path, runs: list[SweepRun]) -> None:
    """Write the state of the sweep that this process runs."""
    saved = [{"folder": run.folder, "state": run.state} for run in runs]
    write_json(path, {"process": os.getpid(), "runs": saved})


def read_state(path: Path) -> list[SweepRun]:
    """The runs of a sweep. If its process has ended, unfinished runs are `stopped`."""
    saved = read_json(path)
    runs = [SweepRun(**run) for run in saved["runs"]]
    if not is_alive(saved["process"]):
        for run in runs:
            if run.state in ("running", "waiting"):
                run.state = "stopped"
    return runs


def table(runs: list[SweepRun], title: str | None = None) -> Table:
    """Run, state, stage, update, training loss and the training time left."""
    table = Table("run", "state", "stage", "update", "loss", "training left", title=title)
    for run in runs:
        cells = ["", "", "", ""]
        if run.state != "waiting":
            training = run.training()
            cells[0] = run.stage()
            if training:
                cells[1] = f"{training['update']}/{training['updates']}"
                cells[2] = f"{training['loss']:.3f}"
                if run.state == "running" and training["update"] < training["updates"]:
                    cells[3] = clock(training["seconds_left"])
        table.add_row(run.name, run.state, *cells)
    return table


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, such as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def read_sweeps(experiment: Path) -> dict[str, list[SweepRun]]:
    """The runs of all sweeps that were ever started, by the sweep's name.

    Raises:
        RecipeError: no sweep was started.
    """
    found = {path.name.split(".")[0]: read_state(path) for path in experiment.glob("*.sweep.json")}
    if not found:
        raise RecipeError(f"no sweep in {experiment}: start one with `make sweep`")
    return dict(sorted(found.items()))


def show_status(config: PipelineSettings) -> None:
    """Print a table of each sweep. On a terminal it is updated until all sweeps have ended."""
    experiment, console = Path(config.paths.experiment), Console()

    def tables() -> Group:
        sweeps = read_sweeps(experiment).items()
        return Group(*(table(runs, f"sweep {name}") for name, runs in sweeps))

    def is_running() -> bool:
        sweeps = read_sweeps(experiment).values()
        return any(run.state == "running" for runs in sweeps for run in runs)

    if not console.is_terminal:
        console.print(tables())
        return
    with Live(tables(), console=console, auto_refresh=False) as live:
        try:
            while is_running():
                live.update(tables(), refresh=True)
                time.sleep(1)
        except KeyboardInterrupt:
            return
        live.update(tables(), refresh=True)
