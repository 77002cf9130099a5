"""The report's answer: what the tests support, and no more."""

import pytest
from table_cases import DECAYING, add_run, make_experiment, runs_in

from evaluation.report.collect import grouped
from evaluation.report.columns import at, loss_columns
from evaluation.report.compare import paired_tests
from evaluation.report.formats import percent
from evaluation.report.summary import answer, early_losses, headline
from evaluation.report.tables import Table


def answer_of(experiment) -> list[str]:
    """By the tests of losses alone, which take no time."""
    groups = grouped(runs_in(experiment))
    moments = {f"Losses at {percent(fraction)} %": at(fraction) for fraction in (0.1, 0.5, 1.0)}
    return answer(
        groups,
        [
            Table(title, title, [], [], paired_tests(groups, loss_columns(moment)))
            for title, moment in moments.items()
        ],
    )


def add_pair(experiment, seed, error_rate, loss):
    """A dense run and a decaying one of a seed; these values are the decaying run's."""
    named = f"seed={seed},"
    add_run(experiment, f"{named}sparsity=dense", seed, {"kind": "dense"}, 0.0, 0.4, 1.5)
    name = f"{named}sparsity.start=0.4,sparsity=decaying"
    add_run(experiment, name, seed, DECAYING, 0.4, error_rate, loss)


def test_differences_that_tests_show_are_the_answer(tmp_path):
    make_experiment(tmp_path)
    verdict, differences = answer_of(tmp_path)
    assert verdict.startswith("Yes, in some measures: with 4 seeds, ")
    assert differences.startswith("Losses at 10 %: total lower (better) by 0.200 [−0.2")
    assert differences.count(" by ") == 4 and differences.endswith("; and 2 more.")


def test_worse_systems_are_called_worse(tmp_path):
    for seed, noise in enumerate((0.0, 0.01, -0.01, 0.005)):
        add_pair(tmp_path, seed, 0.8, 1.8 + noise)
    assert answer_of(tmp_path)[0].startswith("No, it is worse in some measures: with 4 seeds, ")


def test_nothing_shown_is_not_called_equal(tmp_path):
    for seed, noise in enumerate((0.1, -0.1, 0.05)):
        add_pair(tmp_path, seed, 0.4, 1.5 + noise)
    verdict, caution = answer_of(tmp_path)
    assert verdict.startswith("Not shown: with 3 seeds, none of ")
    assert "does not show that they are equal" in caution


def test_one_seed_is_no_answer(tmp_path):
    add_pair(tmp_path, 0, 0.1, 1.2)
    assert answer_of(tmp_path)[0].startswith("One seed cannot answer this")


def test_without_a_pair_there_is_no_answer(tmp_path):
    add_run(tmp_path, "sparsity=dense", 0, {"kind": "dense"}, 0.0, 0.4, 1.5)
    assert answer_of(tmp_path)[0] == "There is no answer yet."


def test_headline_draws_intervals_on_one_scale_for_each_column(tmp_path):
    make_experiment(tmp_path)
    found = headline(grouped(runs_in(tmp_path)))
    assert found["headings"][:3] == ["Loss at 10 %", "Lowest loss", "WER held-out, %"]
    lowest = [row["cells"][1] for row in found["rows"]]
    assert lowest[0]["text"] == "1.501 ± 0.014"
    ends = [cell[end] for cell in lowest for end in ("low", "high")]
    assert min(ends) == 0 and max(ends) == 100
    assert lowest[0]["mean"] == pytest.approx((lowest[0]["low"] + lowest[0]["high"]) / 2, abs=0.1)
    assert [cell["mean"] for cell in lowest][2] < lowest[0]["low"]  # decaying is lower than dense
    assert len({row["style"]["colour"] for row in found["rows"]}) == 3


def test_early_losses_have_an_empty_cell_where_a_system_was_not_validated():
    bands = {"a": {"update": [10, 20], "mean": [2.0, 1.0]}, "b": {"update": [20], "mean": [1.5]}}
    assert early_losses(bands, until=20) == [
        ["Update", "a", "b"],
        ["10", "2.000", ""],
        ["20", "1.000", "1.500"],
    ]
