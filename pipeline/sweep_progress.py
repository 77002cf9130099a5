"""How far a sweep is and how long it still takes, in a line for logs."""

import time

from pipeline.sweep_state import STAGES, SweepRun, clock

SECONDS_BETWEEN_LINES = 20.0
WORK = dict(zip(STAGES, (1.0, 0.2, 0.1), strict=True))
"""The time that each stage of a run takes, compared with its training, measured in the demo."""


class SweepProgress:
    """Prints a line about a sweep now and then, with an estimate of the time left.

    The estimate is the work left at the pace since the start. The work of a training is known by
    its updates, that of other stages only when they end, so in between the estimate counts down.
    """

    def __init__(self, runs: list[SweepRun]) -> None:
        self.runs = runs
        self.started = self.printed = self.estimated = time.monotonic()
        self.done_before = self.done = sum(map(work_done, runs))
        self.left: float | None = None

    def line(self) -> str | None:
        """The line if it is time for one, else nothing."""
        now = time.monotonic()
        if now - self.printed < SECONDS_BETWEEN_LINES:
            return None
        self.printed = now
        done = sum(map(work_done, self.runs))
        if done > self.done:
            pace = (done - self.done_before) / (now - self.started)
            self.left = (sum(map(work_planned, self.runs)) - done) / pace
            self.done, self.estimated = done, now
        states = [f"{run.name} {describe(run)}" for run in self.runs if run.state == "running"]
        waiting = sum(run.state == "waiting" for run in self.runs)
        states += [f"{waiting} waiting"] if waiting else []
        estimate = "time left not known yet"
        if self.left is not None:
            estimate = f"about {clock(max(0, self.left - (now - self.estimated)))} left"
        return f"{clock(now - self.started)}: {'; '.join(states)}; {estimate}"


def describe(run: SweepRun) -> str:
    """The stage of a running run, and the update and loss of its training."""
    training, stage = run.training(), run.stage()
    if stage != "train" or not training:
        return stage or "starting"
    return f"update {training['update']}/{training['updates']}, loss {training['loss']:.3f}"


def stages_of(run: SweepRun) -> list[str]:
    """The stages that a run goes through. Reference rows have no training."""
    is_reference = any(each.startswith("system=") for each in run.overrides)
    return [stage for stage in WORK if not (is_reference and stage == "train")]


def work_planned(run: SweepRun) -> float:
    """The work of a run, in trainings."""
    return sum(WORK[stage] for stage in stages_of(run))


def work_done(run: SweepRun) -> float:
    """How much of `work_planned` is done."""
    if run.state in ("done", "recorded", "failed"):
        return work_planned(run)
    stages, stage = stages_of(run), run.stage()
    if run.state == "waiting" or stage not in stages:
        return 0.0
    done = sum(WORK[each] for each in stages[: stages.index(stage)])
    if stage == "train" and (training := run.training()):
        done += training["update"] / training["updates"]
    return done
