"""Paired tests of systems against their baselines, and what they show in words."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics.measures import Measure
from evaluation.report.collect import Group, Run, baselines
from evaluation.report.columns import Column
from evaluation.report.statistics import (
    LEVEL,
    Comparison,
    Sentences,
    holm,
    paired_bootstrap,
    paired_t,
)


@dataclass
class PairedTest:
    """The test of one column for one pair of systems."""

    system: str
    baseline: str
    column: Column
    result: Comparison
    adjusted: float | None = None
    """the p-value after Holm's correction"""

    @property
    def shows_difference(self) -> bool:
        return self.adjusted is not None and self.adjusted < 1 - LEVEL


def compare(system: Group, baseline: Group, column: Column) -> Comparison | None:
    """Compare `system` minus `baseline` over the seeds, and sentences, that both have.

    Returns None where they share no seed or a run has no value.
    """
    by_seed = [{run.seed: run for run in group.runs} for group in (system, baseline)]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    pair = [[runs[seed] for seed in seeds] for runs in by_seed]
    if not seeds or any(column.value(run) is None for runs in pair for run in runs):
        return None
    if column.measure is None:
        return paired_t(*([column.value(run) for run in runs] for runs in pair))
    # Each comparison has its own random numbers, which do not depend on the other comparisons.
    name = f"{system.label}|{baseline.label}|{column.heading}"
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return paired_bootstrap(*_common_sentences(column.measure, *pair), random)


def _common_sentences(measure: Measure, *systems: Sequence[Run]) -> list[Sentences]:
    """For each system, amounts and weights of the sentences that all runs of all systems have."""
    parts = [[measure.parts(run.sentences) for run in runs] for runs in systems]
    ids = sorted(set.intersection(*(set(run) for runs in parts for run in runs)))
    values = [np.array([[run[each] for each in ids] for run in runs], float) for runs in parts]
    return [Sentences(each[..., 0], each[..., 1], measure.finish) for each in values]


def paired_tests(groups: list[Group], columns: list[Column]) -> list[PairedTest]:
    """All tests of a table, corrected together by Holm's method."""
    tests = []
    for system in groups:
        for baseline in baselines(system, groups):
            for column in columns:
                result = compare(system, baseline, column) if column.better else None
                if result is not None:
                    tests.append(PairedTest(system.label, baseline.label, column, result))
    with_p = [test for test in tests if test.result.p is not None]
    for test, p in zip(with_p, holm([test.result.p for test in with_p]), strict=True):
        test.adjusted = p
    return tests


def _by_pair(tests: list[PairedTest]) -> dict[tuple[str, str], list[PairedTest]]:
    """The tests of each pair of system and baseline."""
    pairs: dict[tuple[str, str], list[PairedTest]] = {}
    for test in tests:
        pairs.setdefault((test.system, test.baseline), []).append(test)
    return pairs


def signed(column: Column, value: float) -> str:
    """Show a value with its sign; zero has none."""
    shown = column.show(abs(value))
    return shown if not shown.strip("0.") else ("+" if value > 0 else "−") + shown


def _cell(test: PairedTest) -> str:
    """Difference, interval and corrected p-value."""
    result, column = test.result, test.column
    text = signed(column, result.difference)
    if result.low is not None:
        text += f" [{signed(column, result.low)}, {signed(column, result.high)}]"
    if test.adjusted is not None:
        text += f", p {'< 0.001' if test.adjusted < 0.001 else f'= {test.adjusted:.3f}'}"
    return text


def table_of_tests(tests: list[PairedTest]) -> list[list[str]]:
    """A heading and a row for each pair of systems; nothing without tests."""
    if not tests:
        return []
    headings = list(dict.fromkeys(test.column.heading for test in tests))
    rows = [["System minus baseline", "Seeds", *headings]]
    for (system, baseline), pair in _by_pair(tests).items():
        cells = {test.column.heading: _cell(test) for test in pair}
        shown = [cells.get(heading, "") for heading in headings]
        rows.append([f"{system} − {baseline}", str(pair[0].result.seeds), *shown])
    return rows


def what_tests_show(tests: list[PairedTest]) -> list[str]:
    """A sentence for each pair of systems: which differences the tests show."""
    if tests and all(test.adjusted is None for test in tests):
        return ["One seed cannot separate the systems from training noise."]
    return [
        f"{system} against {baseline}: {_reading(pair)}"
        for (system, baseline), pair in _by_pair(tests).items()
    ]


def _reading(tests: list[PairedTest]) -> str:
    seeds = tests[0].result.seeds
    shown = [describe(test) for test in tests if test.shows_difference]
    parts = ["; ".join(shown)] if shown else []
    if len(shown) < len(tests):
        parts.append(f"no difference shown in {'the other measures' if shown else 'any measure'}")
    text = ". ".join(part[0].upper() + part[1:] for part in parts)
    if seeds == 1:
        return f"{text} (one seed: this holds for these two models, not for the methods)."
    return f"{text} ({seeds} seeds)."


def describe(test: PairedTest) -> str:
    """The difference that a test shows, in words."""
    result, column = test.result, test.column
    direction = "higher" if result.difference > 0 else "lower"
    verdict = "better" if result.difference * column.better > 0 else "worse"
    name, _, unit = column.heading.partition(", ")
    limits = f"{signed(column, result.low)} to {signed(column, result.high)}"
    size = f"{column.show(abs(result.difference))} [{limits}] {unit.replace('%', 'points')}"
    return f"{name} {direction} ({verdict}) by {size}".strip()
