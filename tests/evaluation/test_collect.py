"""Which runs a table has, in what order and by what names."""

import json

import pytest

from evaluation.collect import finished_runs
from preprocessing.errors import RecipeError


def add_run(experiment, name, system="model", complete=True, **training):
    levels = training.pop("levels", [])
    record = {"seed": 0, "sparsity": {"kind": "dense"}} | training
    record["sparsity_switches"] = [{"update": 0, "nominal": level} for level in levels]
    folder = experiment / name / "evaluation"
    folder.mkdir(parents=True)
    metrics = {"system": system, "training": record if system == "model" else None}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "stage.json").write_text(json.dumps({"fingerprint": "x", "complete": complete}))


def test_references_come_first_then_kinds_starts_and_seeds(tmp_path):
    decaying = {"kind": "decaying", "start": 0.4}
    add_run(tmp_path, "a", sparsity=decaying, levels=[0.4, 0.2, 0.1, 0], seed=1)
    add_run(tmp_path, "b", sparsity=decaying, levels=[0.4, 0.2, 0.1, 0])
    add_run(tmp_path, "c", sparsity={"kind": "constant", "start": 0.4}, levels=[0.4])
    add_run(tmp_path, "d", sparsity={"kind": "constant", "start": 0.2}, levels=[0.2])
    add_run(tmp_path, "e")
    add_run(tmp_path, "vocoded", system="vocoded")
    add_run(tmp_path, "natural", system="natural")
    add_run(tmp_path, "unfinished", complete=False)
    assert [run.label for run in finished_runs(tmp_path)] == [
        "Natural recordings",
        "Vocoded recordings",
        "Dense",
        "Constant 20 %",
        "Constant 40 %",
        "Decaying 40 → 20 → 10 → 0 %",
        "Decaying 40 → 20 → 10 → 0 %, seed 1",
    ]


def test_no_two_runs_share_a_name(tmp_path):
    add_run(tmp_path, "default")
    add_run(tmp_path, "trainer.updates=5600")
    assert [run.label for run in finished_runs(tmp_path)] == [
        "Dense (default)",
        "Dense (trainer.updates=5600)",
    ]


def test_nothing_finished_is_told(tmp_path):
    add_run(tmp_path, "unfinished", complete=False)
    with pytest.raises(RecipeError, match="no finished run in .*: run `make demo`"):
        finished_runs(tmp_path)
