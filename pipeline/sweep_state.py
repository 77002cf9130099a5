"""What a sweep says of its runs in a file, and the table that it and `make status` show."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from pipeline.files import read_json, write_json

STAGES = ("train", "synthesis", "evaluation")


@dataclass
class RunState:
    """One run of a sweep."""

    folder: str
    state: str = "waiting"
    """waiting, running, done, failed, recorded, or stopped when its sweep is no more"""

    @property
    def name(self) -> str:
        return Path(self.folder).name

    @property
    def log(self) -> Path:
        return Path(self.folder) / "run.log"

    def stage(self) -> str:
        """The stage that is at work or was last; empty before the first."""
        begun = [each for each in STAGES if (Path(self.folder) / each / "stage.json").exists()]
        return begun[-1] if begun else ""

    def training(self) -> dict:
        """progress.json of the training: update, updates, loss, seconds_left; or nothing."""
        path = Path(self.folder) / "train" / "progress.json"
        return read_json(path) if path.exists() else {}

    def last_line(self) -> str:
        """Of the run's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else ""


def sweep_file(experiment: Path, sweep: str) -> Path:
    return experiment / f"{sweep}.sweep.json"


def write_state(path: Path, runs: list[RunState]) -> None:
    """Write the state of a sweep that this process runs."""
    write_json(path, {"process": os.getpid(), "runs": [asdict(run) for run in runs]})


def read_state(path: Path) -> list[RunState]:
    """The runs of a sweep; those that were running are stopped if its process has gone."""
    saved = read_json(path)
    runs = [RunState(**run) for run in saved["runs"]]
    if not _alive(saved["process"]):
        for run in runs:
            if run.state in ("running", "waiting"):
                run.state = "stopped"
    return runs


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only asks whether the process is there
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def table(runs: list[RunState], title: str | None = None) -> Table:
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
    """Hours, minutes and seconds as 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
