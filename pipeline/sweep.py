"""A sweep: stages 4 to 6 of each run in a process of its own, several of them side by side.

With `records`, a run that has a current record there is not redone, and each run that finishes
gets a record. A sweep can thus go on wherever the records are, without the runs themselves.
"""

import os
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from rich.console import Console
from rich.live import Live

from pipeline.configuration import evaluation_fingerprint, run_name, search_path, task_overrides
from pipeline.errors import RecipeError
from pipeline.records import evaluated_as, keep_record, read_records
from pipeline.sections import PipelineSettings
from pipeline.stages import Config
from pipeline.sweep_progress import SweepProgress, stages_of
from pipeline.sweep_state import SweepRun, sweep_file, table, write_state

REFERENCES = [["system=vocoded", "name=vocoded"], ["system=natural", "name=natural"]]
"""Rows of the tables for comparison. They come last, since they take less time than trainings."""
OF_THE_SWEEP = ("sweep=", "sweep.", "jobs=", "seeds=", "records=", "seed=")
"""Overrides that say which runs a sweep has, and are not passed on to them."""
RECORDED = {
    "kept": "recorded",
    "there": "its record was there",
    "replaced": "its record, which had other settings, is replaced",
}
"""The message for each result of `keep_record`."""


def planned_runs(config: PipelineSettings, common: list[str]) -> list[SweepRun]:
    """Each of `config.sweep.runs` with each seed, seeds outermost, then the reference rows.

    Args:
        config: the sweep's configuration.
        common: overrides of all runs.

    Raises:
        RecipeError: `common` gives all runs the same name.
    """
    if named := [each for each in common if each.startswith("name=")]:
        raise RecipeError(
            f"{named[0]}: the runs of a sweep are named by their overrides, so leave it out"
        )
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
        overrides = [each for each in overrides if not each.startswith("name=")]
        # The quotes keep Hydra from parsing the commas and equals signs of a name.
        overrides.append(f'name="{name}"')
        runs.append(SweepRun(f"{config.paths.experiment}/{name}", overrides=overrides))
    return runs


def runs_of(config: PipelineSettings) -> list[SweepRun]:
    """The runs of the sweep that this script's overrides describe, with their fingerprints.

    All configurations are composed here, so that an error shows before the first run starts.

    Raises:
        RecipeError: see `planned_runs`; or some runs cannot be configured, which are all named.
    """
    common = [each for each in task_overrides() if not each.startswith(OF_THE_SWEEP)]
    runs = planned_runs(config, [*common, *search_path()])
    faults = []
    for run in runs:
        try:
            run.fingerprint = evaluation_fingerprint(type(config), run.settings)
        except RecipeError as error:
            faults.append(f"{run.name}: {error}")
    if faults:
        raise RecipeError("\n".join(["these runs cannot be configured:", *faults]))
    return runs


def leave_to_records(runs: list[SweepRun], folder: Path) -> list[str]:
    """Set the state of runs that have a current record; return a message for each record."""
    records = {record.folder.name: record for record in read_records(folder)}
    messages = []
    for run in runs:
        if record := records.get(run.name):
            if record.fingerprint == run.fingerprint:
                run.state = "recorded"
                messages.append(f"{run.name}: recorded")
            else:
                messages.append(f"{run.name}: its record has other settings than today's")
    return messages


def is_finished(run: SweepRun) -> bool:
    """Whether the run is evaluated with its settings, and what it was evaluated on is still there.

    This needs no process for the run.
    """
    folder = Path(run.folder)
    stages = [folder / stage / "stage.json" for stage in stages_of(run)]
    return evaluated_as(folder) == run.fingerprint and all(path.exists() for path in stages)


def side_by_side(config: Config) -> int:
    """How many runs at once: `config.jobs`, or by default as many as the CPU has cores for.

    Raises:
        RecipeError: runs have several processes each, which a sweep does not start.
    """
    if config.trainer.devices > 1:
        raise RecipeError("the runs of a sweep have one process each: set trainer.devices=1")
    if config.jobs is not None:
        return config.jobs
    if config.trainer.accelerator == "gpu":
        return 1
    return max(1, len(os.sched_getaffinity(0)) // config.trainer.threads)


def run_sweep(config: Config) -> None:
    """Run the sweep. A failed run does not stop the others and is reported at the end.

    Raises:
        RecipeError: some runs failed; names them and their logs.
    """
    runs = runs_of(config)
    messages = leave_to_records(runs, Path(config.records)) if config.records else []
    jobs = side_by_side(config)
    state = sweep_file(Path(config.paths.experiment), HydraConfig.get().runtime.choices.sweep)

    for run in runs:
        if run.state == "waiting" and is_finished(run):
            run.state = "done"
            messages.append(f"{run.name}: {_ending(run, config.records)}")

    console = Console()
    for message in messages:
        console.print(message, markup=False)
    write_state(state, runs)
    progress = SweepProgress(runs)
    with Live(table(runs), console=console, transient=True, auto_refresh=False) as live:
        while any(run.state in ("waiting", "running") for run in runs):
            ended = [run for run in runs if run.has_just_ended()]
            for run in ended:
                console.print(f"{run.name}: {_ending(run, config.records)}", markup=False)
            free = jobs - sum(run.state == "running" for run in runs)
            started = [run for run in runs if run.state == "waiting"][: max(0, free)]
            for run in started:
                run.start()
            if ended or started:
                write_state(state, runs)
            live.update(table(runs), refresh=console.is_terminal)
            if not console.is_terminal and (line := progress.line()):
                print(line, flush=True)
            time.sleep(0.2)
    if failed := [run for run in runs if run.state == "failed"]:
        raise RecipeError(
            "\n".join(
                [f"{len(failed)} of {len(runs)} runs failed:"]
                + [f"  {run.name}: {run.last_line()} (see {run.log})" for run in failed]
                + ["Fix the cause and run the same command again: finished runs are not redone."]
            )
        )


def _ending(run: SweepRun, records: str) -> str:
    """How a run ended, in words; keeps its record if the sweep keeps records."""
    if run.state == "failed":
        return f"failed: {run.last_line()}"
    if not records:
        return run.state
    return f"{run.state}, {RECORDED[keep_record(Path(run.folder), run.settings, Path(records))]}"


def keep_records(config: PipelineSettings) -> None:
    """Keep records of a sweep's finished runs in `config.records`; print which are not finished.

    Raises:
        RecipeError: `config.records` is empty, or no run is finished.
    """
    if not config.records:
        raise RecipeError("say where the records go: make records RECORDS=<folder>")
    finished = 0
    for run in runs_of(config):
        folder = Path(run.folder)
        if evaluated_as(folder) == run.fingerprint:
            result = keep_record(folder, run.settings, Path(config.records))
            print(f"{run.name}: {RECORDED[result]}")
            finished += 1
        else:
            print(f"{run.name}: not finished with these settings, so not recorded")
    if not finished:
        raise RecipeError(
            "no run of this sweep is finished: run `make sweep` with the same settings"
        )
