"""Which runs tables contain, in which order and under which names."""

import json

import pytest
from table_cases import runs_in

from evaluation.report.collect import baselines, grouped, run_label
from pipeline.errors import RecipeError


def add_run(experiment, name, system="model", complete=True, vocoder="a", recogniser="a", **given):
    levels = given.pop("levels", [])
    record = {"seed": 0, "sparsity": {"kind": "dense"}, "context": "a"} | given
    record["sparsity_switches"] = [{"update": 0, "nominal": level} for level in levels]
    folder = experiment / name / "evaluation"
    folder.mkdir(parents=True)
    metrics = {"system": system, "training": record if system == "model" else None}
    metrics |= {"synthesis": {"vocoder": vocoder}, "recogniser": recogniser}
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
    assert [run.label for run in runs_in(tmp_path)] == [
        "Natural recordings",
        "Vocoded recordings",
        "Dense",
        "Constant 20 %",
        "Constant 40 %",
        "Decaying 40 → 20 → 10 → 0 %",
        "Decaying 40 → 20 → 10 → 0 %",
    ]


def test_runs_are_grouped_over_seeds_and_no_two_groups_share_a_name(tmp_path):
    add_run(tmp_path, "default")
    add_run(tmp_path, "seed=1", seed=1)
    add_run(tmp_path, "seed=1,trainer.updates=5600", seed=1)
    add_run(tmp_path, "trainer.updates=5600")
    groups = grouped(runs_in(tmp_path))
    assert [group.label for group in groups] == ["Dense (default)", "Dense (trainer.updates=5600)"]
    assert [[run.seed for run in group.runs] for group in groups] == [[0, 1], [0, 1]]


def test_labels_name_deviations_from_the_paper():
    def label(kind, levels, **settings):
        switches = [{"nominal": level} for level in levels]
        sparsity = {"kind": kind, "cap": 0.75, "score": "snip"} | settings
        training = {"sparsity": sparsity, "sparsity_switches": switches}
        return run_label({"system": "model", "training": training})

    assert label("decaying", [0.4, 0.2, 0], cap=1.0) == "Decaying 40 → 20 → 0 %, no cap"
    assert label("constant", [0.8], cap=0.95) == "Constant 80 %, cap 95 %"
    assert label("constant", [0.4], score="synflow", lr_scaling="none") == (
        "Constant 40 %, synflow scores, rate not scaled"
    )
    assert label("decaying", [0.4, 0], regrowth="zero") == "Decaying 40 → 0 %, regrowth from zero"
    assert label("gradual", [0, 0.2, 0.4], score="magnitude") == (
        "Gradual magnitude pruning to 40 %"
    )
    assert label("rising", [0, 0.1, 0.2], score="magnitude") == "Rising 0 → 10 → 20 %"


def test_systems_are_compared_with_dense_and_with_constant_of_the_same_start(tmp_path):
    long, context = "trainer.updates=9", {"context": "long"}
    for start in (0.2, 0.4):
        for kind in ("constant", "decaying"):
            sparsity = {"kind": kind, "start": start, "cap": 0.75}
            name = f"sparsity.start={start},sparsity={kind},{long}"
            add_run(tmp_path, name, sparsity=sparsity, levels=[start], **context)
    add_run(tmp_path, f"sparsity=dense,{long}", **context)
    add_run(tmp_path, "default")
    other = {"kind": "constant", "start": 0.4, "cap": 0.75, "score": "random"}
    name = f"sparsity.score=random,sparsity.start=0.4,sparsity=constant,{long}"
    add_run(tmp_path, name, sparsity=other, levels=[0.4], **context)
    add_run(tmp_path, "vocoded", system="vocoded")
    groups = grouped(runs_in(tmp_path))
    against = {group.label: [each.label for each in baselines(group, groups)] for group in groups}
    dense = f"Dense (sparsity=dense,{long})"
    assert against == {
        "Vocoded recordings": [],
        "Dense (default)": [],
        dense: [],
        "Constant 20 %": [dense],
        "Constant 40 %": [dense],
        "Constant 40 %, random scores": [dense],
        "Decaying 20 %": [dense, "Constant 20 %"],
        "Decaying 40 %": [dense, "Constant 40 %"],
    }


def test_only_systems_with_otherwise_equal_settings_are_compared(tmp_path):
    add_run(tmp_path, "settings-0123")
    add_run(tmp_path, "others-4567", context="b")
    add_run(tmp_path, "vocoders-4567", vocoder="b")
    add_run(tmp_path, "recognisers-4567", recogniser="b")
    sparsity = {"kind": "constant", "start": 0.4, "cap": 0.75}
    add_run(tmp_path, "settings-89ab", sparsity=sparsity, levels=[0.4])
    groups = grouped(runs_in(tmp_path))
    (dense,) = baselines(groups[-1], groups)
    assert dense.runs[0].folder.name == "settings-0123"


def test_an_experiment_without_finished_runs_is_reported(tmp_path):
    add_run(tmp_path, "unfinished", complete=False)
    with pytest.raises(RecipeError, match="no finished run of .*: run `make demo`"):
        runs_in(tmp_path)
