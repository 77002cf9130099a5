"""A sweep: stages 4 to 6 of each run in a process of its own, some of them side by side.

With `records`, a run that has a record there of today's settings is not redone, and each run that
is done gets one: a sweep may go on wherever the records are, without the runs.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.live import Live

from pipeline.composition import evaluation_given, search_path
from pipeline.entry_point import PROJECT, stage_script
from pipeline.errors import RecipeError
from pipeline.records import keep_record, read_records
from pipeline.run_names import run_name, run_settings
from pipeline.sweep_state import RunState, sweep_file, table, write_state

REFERENCES = [["system=vocoded", "name=vocoded"], ["system=natural", "name=natural"]]
"""Rows that tables compare with; they are last, since they are shorter than a training."""
OURS = ("sweep=", "sweep.", "jobs=", "seeds=", "records=")


class Run(RunState):
    """One run of a sweep and its process."""

    def __init__(self, overrides: list[str], folder: Path):
        super().__init__(str(folder))
        self.overrides = overrides
        self.process: subprocess.Popen | None = None
        self.fingerprint = ""  # of its evaluation; see `add_fingerprints`

    @property
    def settings(self) -> list[str]:
        """The overrides that a record keeps."""
        return run_settings(self.overrides)

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(PROJECT / "scripts" / "run.py"), *self.overrides],
                stdout=log,
                stderr=subprocess.STDOUT,
                # The log is to end in an exception, which is told of a failed run, not in a hint.
                env={**os.environ, "HYDRA_FULL_ERROR": "1"},
            )
        self.state = "running"

    def has_just_ended(self) -> bool:
        """Whether the process has ended since the last time that this was asked."""
        if self.state != "running" or self.process.poll() is None:
            return False
        self.state = "done" if self.process.returncode == 0 else "failed"
        return True


def planned_runs(config, common: list[str]) -> list[Run]:
    """Each of `config.sweep.runs` with each seed, seeds outermost, then the reference rows.

    Raises:
        RecipeError: there is no seed, or `common` names all runs alike.
    """
    if config.seeds < 1:
        raise RecipeError(f"seeds is how many, at least 1, not {config.seeds}")
    if named := [each for each in common if each.startswith("name=")]:
        raise RecipeError(f"{named[0]}: a sweep's runs are named by their overrides, leave it out")
    seeded = [
        [*overrides, f"seed={seed}"]
        for seed in range(config.seed, config.seed + config.seeds)
        for overrides in config.sweep.runs
    ]
    runs = []
    for overrides in [*seeded, *REFERENCES]:
        overrides = [*common, *overrides]
        named = [each.removeprefix("name=") for each in overrides if each.startswith("name=")]
        name = named[-1] if named else run_name(overrides)
        # Quoted, since Hydra would read the commas and equals signs of a name as its own.
        overrides = [each for each in overrides if not each.startswith("name=")]
        runs.append(Run([*overrides, f'name="{name}"'], Path(config.paths.experiment) / name))
    return runs


def runs_of(config) -> list[Run]:
    """The runs of the sweep that this command is given.

    Raises:
        RecipeError: as `planned_runs` and `add_fingerprints`.
    """
    common = [each for each in HydraConfig.get().overrides.task if not each.startswith(OURS)]
    common = [each for each in common if not each.startswith("seed=")]
    runs = planned_runs(config, [*common, *search_path()])
    add_fingerprints(runs)
    return runs


def add_fingerprints(runs: list[Run]) -> None:
    """Compose the configuration of each run now, rather than after hours of the runs before it.

    Raises:
        RecipeError: some cannot be; names them all.
    """
    faults = []
    for run in runs:
        try:
            run.fingerprint = evaluation_given(run.settings)
        except RecipeError as error:
            faults.append(f"{run.name}: {error}")
    if faults:
        raise RecipeError("\n".join(["runs that cannot be configured:", *faults]))


def leave_to_records(runs: list[Run], folder: Path) -> list[str]:
    """Set the state of runs that have a record of today's settings; a line about each record."""
    records = {record.folder.name: record for record in read_records(folder)}
    told = []
    for run in runs:
        if record := records.get(run.name):
            if record.fingerprint == run.fingerprint:
                run.state = "recorded"
                told.append(f"{run.name}: recorded")
            else:
                told.append(f"{run.name}: its record is of other settings than today's")
    return told


RECORDED = {
    "kept": "recorded",
    "there": "its record was there",
    "replaced": "its record, of other settings, is replaced",
}
"""What is said of each result of `keep_record`."""


def side_by_side(config) -> int:
    """How many runs at once: `config.jobs`, else as many as there are cores for their threads.

    Raises:
        RecipeError: none, or runs of several processes each, which a sweep does not start.
    """
    if config.trainer.devices > 1:
        raise RecipeError("a sweep's runs are of one process each: trainer.devices=1")
    if config.jobs is not None:
        if config.jobs < 1:
            raise RecipeError(f"jobs is how many runs at once, at least 1, not {config.jobs}")
        return config.jobs
    if config.trainer.accelerator == "gpu":
        return 1
    return max(1, len(os.sched_getaffinity(0)) // config.trainer.threads)


def run_sweep(config) -> None:
    """Run the sweep; a failed run is told at the end and stops no other.

    Raises:
        RecipeError: some runs failed; names them and their logs.
    """
    runs = runs_of(config)
    told = leave_to_records(runs, Path(config.records)) if config.records else []
    jobs = side_by_side(config)
    state = sweep_file(Path(config.paths.experiment), HydraConfig.get().runtime.choices.sweep)

    console = Console()
    for line in told:
        console.print(line, markup=False)
    write_state(state, runs)
    with Live(table(runs), console=console, transient=True, auto_refresh=False) as live:
        while any(run.state in ("waiting", "running") for run in runs):
            changed = False
            for run in runs:
                if run.has_just_ended():
                    changed = True
                    reason = f": {run.last_line()}" if run.state == "failed" else ""
                    if run.state == "done" and config.records:
                        kept = keep_record(Path(run.folder), run.settings, Path(config.records))
                        reason = f", {RECORDED[kept]}"
                    console.print(f"{run.name}: {run.state}{reason}", markup=False)
            free = jobs - sum(run.state == "running" for run in runs)
            for run in [run for run in runs if run.state == "waiting"][: max(0, free)]:
                run.start()
                changed = True
            if changed:
                write_state(state, runs)
            live.update(table(runs), refresh=console.is_terminal)
            time.sleep(0.2)
    failed = [run for run in runs if run.state == "failed"]
    if failed:
        raise RecipeError(
            "\n".join(
                [f"{len(failed)} of {len(runs)} runs failed:"]
                + [f"  {run.name}: {run.last_line()} (see {run.log})" for run in failed]
                + ["Mend the cause and run the same command again: the others are not redone."]
            )
        )


main = stage_script(run_sweep)

if __name__ == "__main__":
    main()
