"""Analyses a listening test: preferences, scores and agreement."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import binomtest

from evaluation.listening.agreement import krippendorff_alpha
from evaluation.listening.answers import Key
from evaluation.listening.design import (
    BEST_WORST,
    HIDDEN,
    KINDS,
    LEVELS,
    MIDDLE_ANCHOR,
    MUSHRA,
    PREFERENCE,
    RATING,
    REFERENCE,
    Trial,
)
from evaluation.report.statistics import LEVEL, holm

RESAMPLES = 2000


@dataclass(frozen=True)
class Answer:
    """One answer of a listener who passed the attention checks."""

    listener: int
    sentence: str
    systems: tuple[str, ...]
    """in the order of the key's labels, independent of the sides"""
    value: int | None
    """a score: of a rating, of MUSHRA, or 1 for best and -1 for worst; or the index in `systems` of
    the preferred one, None for no difference"""


def failed_checks(answers: dict, key: Key) -> int:
    """Count the attention checks that a listener failed."""
    plan = key.plans[answers["plan"]]
    pairs = zip(plan, answers["answers"], strict=True)
    return sum(trial.is_check and not trial.passed(each["answer"]) for trial, each in pairs)


def collect_answers(accepted: list[dict], key: Key, kind: str) -> list[Answer]:
    """Collect the answers of one kind from all these listeners, without attention checks.

    A trial of best and worst or of MUSHRA gives an answer for each of its systems.
    """
    found = []
    for listener, answers in enumerate(accepted):
        for trial, each in zip(key.plans[answers["plan"]], answers["answers"], strict=True):
            if trial.kind == kind and not trial.is_check:
                for systems, value in _values(trial, each["answer"], list(key.labels)):
                    found.append(Answer(listener, trial.sentence, systems, value))
    return found


def _values(trial: Trial, value: Any, labels: list[str]) -> list[tuple[tuple, int | None]]:
    if trial.kind == PREFERENCE:
        order = tuple(sorted(trial.systems, key=labels.index))
        chosen = {"left": trial.systems[0], "right": trial.systems[-1], "same": None}[value]
        return [(order, None if chosen is None else order.index(chosen))]
    if trial.kind == BEST_WORST:
        marks = [(place == value["best"]) - (place == value["worst"]) for place in range(3)]
        return [((system,), mark) for system, mark in zip(trial.systems, marks, strict=True)]
    scores = value if trial.kind == MUSHRA else [value]
    return [((system,), score) for system, score in zip(trial.systems, scores, strict=True)]


def post_screened(answers: list[Answer]) -> tuple[list[Answer], int]:
    """Leave out listeners by the rule of ITU-R BS.1534-3, section 4.1.2.

    Listeners are left out who score the hidden reference below 90 in more than 15 % of the trials,
    or the middle anchor above 90 in more than 15 %.

    Returns:
        The answers of the others, and how many listeners are left out.
    """
    faults: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for each in answers:
        if each.systems == (REFERENCE,):
            faults[each.listener, REFERENCE].append(each.value < 90)
        if each.systems == (MIDDLE_ANCHOR,):
            faults[each.listener, MIDDLE_ANCHOR].append(each.value > 90)
    out = {listener for (listener, _), found in faults.items() if np.mean(found) > 0.15}
    return [each for each in answers if each.listener not in out], len(out)


def bootstrap(answers: list[Answer], values: np.ndarray) -> list[float] | None:
    """Percentile bootstrap interval of 95 % for the mean of `values`, `[answers]`.

    Both listeners and sentences are resampled (Owen 2007, "The pigeonhole bootstrap"), since
    answers by one listener or to one sentence are correlated. If all values are the same,
    resampling shows no variation and the result is None.
    """
    if np.ptp(values) == 0:
        return None
    random = np.random.default_rng(0)
    weights = np.ones((RESAMPLES, len(answers)))
    for kind in ("listener", "sentence"):
        names, index = np.unique([getattr(each, kind) for each in answers], return_inverse=True)
        counts = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
        weights *= counts[:, index]
    weights = weights[weights.sum(1) > 0]
    means = weights @ values / weights.sum(1)
    tail = 100 * (1 - LEVEL) / 2
    return np.percentile(means, [tail, 100 - tail]).tolist()


def preferences(answers: list[Answer], systems: list[str]) -> list[dict]:
    """Count the preferences for each pair of systems, with intervals and a corrected p-value.

    `share` is the first system's share of the answers that prefer one system. `exact` is its
    interval by Clopper and Pearson, which treats answers as independent; `bootstrap` does not.
    """
    results = []
    for pair in combinations(systems, 2):
        of_pair = [each for each in answers if each.systems == pair]
        decided = [each for each in of_pair if each.value is not None]
        won = sum(each.value == 0 for each in decided)
        result = {
            "systems": list(pair),
            "answers": len(of_pair),
            "preferred": [won, len(decided) - won],
            "same": len(of_pair) - len(decided),
            "share": None,
        }
        if decided:
            test = binomtest(won, len(decided), 0.5)
            exact = test.proportion_ci(LEVEL, method="exact")
            won_each = np.array([each.value == 0 for each in decided], float)
            result |= {
                "share": won / len(decided),
                "exact": [float(exact.low), float(exact.high)],
                "bootstrap": bootstrap(decided, won_each),
                "p": float(test.pvalue),
            }
        results.append(result)
    tested = [result for result in results if result["share"] is not None]
    for result, p in zip(tested, holm([each["p"] for each in tested]), strict=True):
        result["p_adjusted"] = p
    return results


def scores(answers: list[Answer], systems: Sequence[str]) -> dict[str, dict]:
    """For each scored system: its mean score, the bootstrap interval, the median and the count."""
    results = {}
    for system in systems:
        of_system = [each for each in answers if each.systems == (system,)]
        if of_system:
            values = np.array([each.value for each in of_system], float)
            results[system] = {
                "mean": float(values.mean()),
                "bootstrap": bootstrap(of_system, values),
                "median": float(np.median(values)),
                "answers": len(of_system),
            }
    return results


@dataclass(frozen=True)
class Analysis:
    """The contents of preferences.json."""

    test: str
    labels: dict[str, str]
    listeners: int
    """those who passed the attention checks"""
    headphones: int
    """how many of them said that they wore headphones"""
    failed_checks: int
    """listeners who are left out because they failed an attention check"""
    refused: int
    """files or lines that hold no valid answers"""
    preferences: list[dict]
    ratings: dict[str, dict]
    """mean opinion scores"""
    best_worst: dict[str, dict]
    """how much more often a system is the best of three than the worst, as a share of its trials"""
    mushra: dict[str, dict]
    """scores of the systems, the hidden reference and the anchors"""
    post_screened: int
    """listeners who are left out of `mushra` by the rule of its standard"""
    agreement: dict[str, float | None]
    """Krippendorff's alpha by kind of trial"""

    def as_json(self) -> dict:
        return asdict(self)


def analyse(accepted: list[dict], refused: int, key: Key) -> Analysis:
    """Analyse the valid answers of several listeners.

    Args:
        accepted: from `read_answers`.
        refused: how many files or lines were invalid.
        key: of the test.
    """
    attentive = [answers for answers in accepted if not failed_checks(answers, key)]
    found = {kind: collect_answers(attentive, key, kind) for kind in KINDS}
    found[MUSHRA], screened = post_screened(found[MUSHRA])
    systems = list(key.labels)
    return Analysis(
        test=key.test,
        labels=key.labels | {name: name.capitalize() for name in HIDDEN},
        listeners=len(attentive),
        headphones=sum(answers["headphones"] for answers in attentive),
        failed_checks=len(accepted) - len(attentive),
        refused=refused,
        preferences=preferences(found[PREFERENCE], systems),
        ratings=scores(found[RATING], systems),
        best_worst=scores(found[BEST_WORST], systems),
        mushra=scores(found[MUSHRA], [*systems, *HIDDEN]),
        post_screened=screened,
        agreement={
            # "No difference" is one of three nominal answers.
            kind: krippendorff_alpha(
                (
                    ((each.systems, each.sentence), -1 if each.value is None else each.value)
                    for each in found[kind]
                ),
                level,
            )
            for kind, level in LEVELS.items()
        },
    )
