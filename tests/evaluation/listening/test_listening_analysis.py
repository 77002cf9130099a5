"""The analysis recovers planted preferences and agrees with published values."""

from dataclasses import replace

import numpy as np
import pytest
from listening_cases import SENTENCES, Listener, make_key
from scipy.stats import binomtest

from evaluation.listening.agreement import krippendorff_alpha
from evaluation.listening.analysis import analyse
from evaluation.listening.design import BEST_WORST, KINDS, MUSHRA
from evaluation.listening.tables import listening_tables, read_analysis
from evaluation.report.statistics import holm
from pipeline.errors import RecipeError

SYSTEMS = ["dense", "constant", "sniper"]
KEY = make_key(SYSTEMS)


def answers_of(listeners: int, probability: float, seed: int = 0) -> list[dict]:
    return [
        Listener(1000 * seed + n, "sniper", probability).answers(KEY, n % len(KEY.plans))
        for n in range(listeners)
    ]


def test_a_planted_preference_of_70_percent_is_recovered():
    analysis = analyse(answers_of(60, 0.7), 0, KEY)
    for result in analysis.preferences:
        first, second = result["systems"]
        if second != "sniper":
            # These were answered at random.
            assert result["p_adjusted"] > 0.05 and result["same"] > 0
            continue
        assert result["share"] == pytest.approx(0.3, abs=0.06)
        for kind in ("exact", "bootstrap"):
            low, high = result[kind]
            assert low < 0.3 < high < 0.5
        assert result["p_adjusted"] < 0.001 and result["same"] == 0
    assert analysis.listeners == 60 and analysis.failed_checks == 0
    mos = {system: each["mean"] for system, each in analysis.ratings.items()}
    assert mos["sniper"] == pytest.approx(4.5, abs=0.1) and mos["dense"] == pytest.approx(
        2.5, abs=0.1
    )
    for each in analysis.ratings.values():
        assert each["bootstrap"][0] < each["mean"] < each["bootstrap"][1]


@pytest.mark.slow
def test_intervals_contain_the_planted_preference_as_often_as_they_should():
    held = {"exact": 0, "bootstrap": 0}
    experiments = 40
    for seed in range(experiments):
        result = analyse(answers_of(6, 0.7, seed + 1), 0, KEY).preferences[1]
        assert result["systems"] == ["dense", "sniper"]
        for kind in held:
            held[kind] += result[kind][0] <= 0.3 <= result[kind][1]
    # 88 % is two standard errors below 95 % in 40 experiments.
    assert min(held.values()) >= 0.88 * experiments


def test_p_values_are_those_of_scipy_and_corrected_together():
    results = analyse(answers_of(12, 0.7), 0, KEY).preferences
    expected = [binomtest(each["preferred"][0], sum(each["preferred"])) for each in results]
    assert [each["p"] for each in results] == [each.pvalue for each in expected]
    assert [each["p_adjusted"] for each in results] == holm([each.pvalue for each in expected])
    limits = [tuple(each.proportion_ci(method="exact")) for each in expected]
    assert [tuple(each["exact"]) for each in results] == limits


def test_listeners_who_always_choose_one_side_show_no_preference():
    one_sided = answers_of(48, 0.5)
    for answers in one_sided:
        for trial, each in zip(KEY.plans[answers["plan"]], answers["answers"], strict=True):
            if not trial.is_check and each["answer"] in ("left", "right", "same"):
                each["answer"] = "left"
    for result in analyse(one_sided, 0, KEY).preferences:
        assert result["share"] == 0.5


def test_unanimous_answers_have_no_bootstrap_interval():
    (result, *_) = [
        each
        for each in analyse(answers_of(4, 1.0), 0, KEY).preferences
        if "sniper" in each["systems"]
    ]
    assert result["share"] == 0 and result["bootstrap"] is None and result["exact"][1] > 0.02


def test_listeners_who_fail_an_attention_check_are_left_out_and_counted():
    careless = Listener(7, "dense", 1.0, attentive=False).answers(KEY, 3)
    analysis = analyse([*answers_of(10, 0.7), careless], 2, KEY)
    assert (analysis.listeners, analysis.failed_checks, analysis.refused) == (10, 1, 2)
    without = analyse(answers_of(10, 0.7), 2, KEY)
    assert analysis == replace(without, failed_checks=1)
    nobody = analyse([careless], 0, KEY)
    assert nobody.preferences[0]["share"] is None and nobody.ratings == {}
    assert listening_tables(nobody.as_json()) == []
    for _, _, rows, note in listening_tables(analysis.as_json()):
        assert all(len(row) == len(rows[0]) for row in rows) and "Left out: 1 listeners" in note


def test_agreement_equals_krippendorffs_example():
    """Example C of Krippendorff (2011): nominal 0.743, ordinal 0.815."""
    observers = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3"]
    observers += [". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 ."]
    pairs = [
        (unit, int(value))
        for line in observers
        for unit, value in enumerate(line.split())
        if value != "."
    ]
    assert krippendorff_alpha(pairs) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(pairs, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha([(1, 2), (1, 2), (2, 3), (2, 3)]) == 1.0
    assert krippendorff_alpha([(1, 2), (2, 3)]) is None
    random = np.random.default_rng(0)
    noise = [(unit, int(random.integers(3))) for unit in range(400) for _ in range(3)]
    assert krippendorff_alpha(noise) == pytest.approx(0, abs=0.06)


def test_tables_show_shares_and_scores():
    preferences, scores = listening_tables(analyse(answers_of(24, 0.7), 1, KEY).as_json())
    assert [row[0] for row in preferences[2][1:]] == [
        "Dense, Constant",
        "Dense, Sniper",
        "Constant, Sniper",
    ]
    assert scores[2][3][0] == "Sniper" and float(scores[2][3][1]) > 4
    assert "24 listeners" in preferences[3] and "1 invalid answer files" in preferences[3]


ALL = make_key(SYSTEMS, kinds=KINDS)


def ranked(listeners: int, attentive: bool = True, key=ALL, seed: int = 0) -> list[dict]:
    return [
        Listener(seed + n, "sniper", 0.7, attentive, SYSTEMS).answers(key, n % len(key.plans))
        for n in range(listeners)
    ]


def test_the_planted_order_of_mushra_and_of_best_and_worst_is_recovered():
    analysis = analyse(ranked(6), 0, ALL)
    scores = {system: each["mean"] for system, each in analysis.mushra.items()}
    order = sorted(scores, key=scores.get)
    assert order == ["low anchor", "dense", "constant", "sniper", "middle anchor", "reference"]
    for rank, system in enumerate(SYSTEMS):
        assert scores[system] == pytest.approx(35 + 10 * rank, abs=1.5)
        low, high = analysis.mushra[system]["bootstrap"]
        assert low < 35 + 10 * rank < high
        assert analysis.mushra[system]["answers"] == 6 * len(SENTENCES)
    assert analysis.mushra["reference"]["mean"] == 100 and analysis.post_screened == 0
    marks = {system: each["mean"] for system, each in analysis.best_worst.items()}
    assert marks["dense"] < -0.5 < marks["constant"] < 0.5 < marks["sniper"]
    assert sum(marks.values()) == pytest.approx(0)
    tables = {name: rows for name, _, rows, _ in listening_tables(analysis.as_json())}
    assert list(tables) == ["preference", "listeners_mos", "best_worst", "mushra"]
    assert [row[0] for row in tables["mushra"][4:]] == ["Reference", "Middle anchor", "Low anchor"]


@pytest.mark.parametrize(
    ("system", "score", "trials", "left_out"),
    [("reference", 89, 4, 1), ("reference", 89, 3, 0), ("reference", 90, 20, 0)]
    + [("middle anchor", 91, 4, 1), ("middle anchor", 91, 3, 0), ("middle anchor", 90, 20, 0)],
)
def test_mushra_leaves_out_listeners_by_the_rule_of_its_standard(system, score, trials, left_out):
    """More than 15 % of 20 trials are more than 3."""
    key = make_key(SYSTEMS, kinds=[MUSHRA])
    answers = ranked(2, key=key)
    plan = key.plans[answers[0]["plan"]]
    for trial, each in list(zip(plan, answers[0]["answers"], strict=True))[:trials]:
        each["answer"][trial.systems.index(system)] = score
    analysis = analyse(answers, 0, key)
    assert analysis.post_screened == left_out and analysis.listeners == 2
    assert analysis.mushra["dense"]["answers"] == (2 - left_out) * len(SENTENCES)
    note = {name: note for name, _, _, note in listening_tables(analysis.as_json())}["mushra"]
    assert f"{left_out} more are left out by the rule of ITU-R BS.1534-3" in note


def test_careless_listeners_fail_the_checks_of_best_and_worst():
    key = make_key(SYSTEMS, kinds=[BEST_WORST])
    analysis = analyse(ranked(3, key=key) + ranked(2, False, key, seed=9), 0, key)
    assert (analysis.listeners, analysis.failed_checks) == (3, 2)


def test_an_analysis_of_an_earlier_version_is_told(tmp_path):
    assert read_analysis(tmp_path) == {}
    (tmp_path / "preferences.json").write_text('{"listeners": 3, "ratings": {}}')
    with pytest.raises(RecipeError, match="run `make preferences` again"):
        read_analysis(tmp_path)
