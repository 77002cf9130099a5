"""A sweep: stages 4 to 6 of each run in a process of its own, some of them side by side."""

import subprocess
import sys
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.live import Live
from rich.table import Table

from common import PROJECT, run_name, stage_script
from preprocessing.artefacts import read_json
from preprocessing.errors import RecipeError

REFERENCES = [["system=vocoded", "name=vocoded"], ["system=natural", "name=natural"]]
"""Rows that tables compare with; they are last, since they are shorter than a training."""


class Run:
    """One run of a sweep: its process, its folder and its log."""

    def __init__(self, overrides: list[str], folder: Path):
        self.overrides, self.folder = overrides, folder
        self.process: subprocess.Popen | None = None
        self.log = folder / "run.log"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(PROJECT / "scripts" / "run.py"), *self.overrides],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def state(self) -> str:
        if self.process is None:
            return "waiting"
        if self.running:
            return "running"
        return "done" if self.process.returncode == 0 else "failed"

    def last_line(self) -> str:
        """What the run says of itself: its training's progress, then the last line of its log."""
        progress = self.folder / "train" / "progress.json"
        if progress.exists():
            values = read_json(progress)
            if values["update"] < values["updates"]:
                return (
                    f"update {values['update']}/{values['updates']}, loss {values['loss']:.3f}, "
                    f"{values['seconds_left']:.0f} s of training left"
                )
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return lines[-1] if lines else ""


def _table(runs: list[Run]) -> Table:
    table = Table("run", "state", "last")
    for run in runs:
        table.add_row(run.folder.name, run.state, run.last_line())
    return table


def _finish(run: Run, finished: list[Run], console: Console) -> None:
    finished.append(run)
    reason = f": {run.last_line()}" if run.state == "failed" else ""
    console.print(f"{run.folder.name}: {run.state}{reason}", markup=False)


def run_sweep(config) -> None:
    """Run `config.sweep.runs` with each seed; a failed run is told at the end and stops no other.

    Raises:
        RecipeError: some runs failed; names them and their logs.
    """
    ours = ("sweep=", "jobs=")
    common = [each for each in HydraConfig.get().overrides.task if not each.startswith(ours)]
    runs = []
    for overrides in [*config.sweep.runs, *REFERENCES]:
        overrides = [*common, *overrides]
        named = [each.removeprefix("name=") for each in overrides if each.startswith("name=")]
        name = named[-1] if named else run_name(overrides)
        # Quoted, since Hydra would read the commas and equals signs of a name as its own.
        overrides = [each for each in overrides if not each.startswith("name=")]
        runs.append(Run([*overrides, f'name="{name}"'], Path(config.paths.experiment) / name))

    console = Console()
    finished: list[Run] = []
    with Live(_table(runs), console=console, transient=True, auto_refresh=False) as live:
        while len(finished) < len(runs):
            for run in runs:
                if run.state in ("done", "failed") and run not in finished:
                    _finish(run, finished, console)
            free = config.jobs - sum(run.running for run in runs)
            for run in [run for run in runs if run.state == "waiting"][: max(0, free)]:
                run.start()
            live.update(_table(runs), refresh=console.is_terminal)
            time.sleep(0.2)
    failed = [run for run in runs if run.state == "failed"]
    if failed:
        raise RecipeError(
            "\n".join(
                [f"{len(failed)} of {len(runs)} runs failed:"]
                + [f"  {run.folder.name}: {run.last_line()} (see {run.log})" for run in failed]
            )
        )


main = stage_script(run_sweep)

if __name__ == "__main__":
    main()
