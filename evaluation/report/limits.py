"""The limits that `make demo` checks at its end: quality of each system, and time."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from evaluation.metrics.measures import HIGHER, MEASURES
from evaluation.report.collect import Run, current_runs
from evaluation.settings import Settings
from pipeline.errors import RecipeError

STARTED = "SNIPER_TTS_STARTED"
"""Environment variable with the time at which the command started, in seconds since 1970."""


def check_limits(config: Settings) -> None:
    """Print each limit of `sweep.limits` with the value that it is for.

    Raises:
        RecipeError: a system misses a limit. One on the time is only printed, since it also depends
            on the machine and on what else the machine does.
    """
    checked = compare_with_limits(current_runs(config), config.sweep.limits)
    for line, met in checked:
        print(f"{line}: {'met' if met else 'MISSED'}")
    print_time(config)
    print(f"open {Path(config.paths.results) / 'report.html'}")
    if missed := [line for line, met in checked if not met]:
        raise RecipeError("\n".join(["these limits are missed:", *missed]))


def compare_with_limits(
    runs: Iterable[Run], limits: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, bool]]:
    """For each limit, a line that tells it beside the value, and whether it is met.

    Args:
        runs: the first run of each system counts.
        limits: of measures, by their names in metrics.json, for `natural`, `vocoded` or a kind of
            sparsity.
    """
    measures = {measure.name: measure for measure in MEASURES}
    by_system: dict[str, Run] = {}
    for run in runs:
        kind = run.training["sparsity"]["kind"] if run.training else run.metrics["system"]
        by_system.setdefault(kind, run)
    checked = []
    for system, limits_of_system in limits.items():
        for name, limit in limits_of_system.items():
            run, measure = by_system[system], measures[name]
            value = run.metrics["measures"][name]
            met = value >= limit if measure.better == HIGHER else value <= limit
            shown = f"{measure.scale * value:.{max(1, measure.decimals)}f}"
            asked = (
                f"at {'least' if measure.better == HIGHER else 'most'} {measure.scale * limit:g}"
            )
            checked.append((f"{run.label}: {measure.heading} {shown}, asked: {asked}", met))
    return checked


def print_time(config: Settings) -> None:
    """Print the time since the command started beside the limit for this kind of processor."""
    started = float(os.environ.get(STARTED) or time.time())
    minutes = (time.time() - started) / 60
    # pipeline.hardware knows the processor too, but loads torch, which takes seconds.
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    kind: Literal["wide", "narrow"] = (
        "wide" if "avx512f" in flags or "amx_tile" in flags else "narrow"
    )
    words = {"wide": "with AVX-512 or AMX", "narrow": "without AVX-512 and AMX"}[kind]
    limit = config.sweep.minutes[kind]
    print(f"{minutes:.1f} min; asked on two cores {words}: at most {limit} if nothing was done yet")
