"""Records of runs: the tables made from them, and which of them count."""

import json
import shutil

import pytest
from conftest import composed
from table_cases import CONSTANT, add_run, make_experiment, runs_in

from evaluation.report.collect import grouped
from evaluation.report.page import write_report
from evaluation.report.tables import make_tables, write_tables
from pipeline.errors import RecipeError
from pipeline.records import (
    current_records,
    evaluated_as,
    keep_record,
    read_records,
    read_runs,
    write_overrides,
)


def keep_all(experiment, records):
    return [keep_record(run.folder, [run.folder.name], records) for run in runs_in(experiment)]


def evaluate_again(run, fingerprint):
    """Pretend that the run was evaluated again with other settings."""
    state = {"fingerprint": fingerprint, "complete": True}
    (run / "evaluation" / "stage.json").write_text(json.dumps(state))


def test_tables_of_records_equal_those_of_the_runs_byte_for_byte(tmp_path):
    make_experiment(tmp_path / "exp")
    assert keep_all(tmp_path / "exp", tmp_path / "records") == ["kept"] * 12
    kept = [record.folder for record in read_records(tmp_path / "records")]
    written = []
    for number, records in enumerate([[], kept]):
        groups = grouped(runs_in(tmp_path / "exp", records))
        folder = tmp_path / f"tables{number}"
        write_tables(make_tables(groups, {}, tmp_path / "paper.yaml"), folder)
        written.append({path.name: path.read_bytes() for path in folder.iterdir()})
        shutil.rmtree(tmp_path / "exp", ignore_errors=True)
    assert len(written[0]) > 20 and written[0] == written[1]


def test_runs_take_precedence_over_their_records(tmp_path):
    make_experiment(tmp_path / "exp")
    keep_all(tmp_path / "exp", tmp_path / "records")
    kept = [record.folder for record in read_records(tmp_path / "records")]
    assert not any(run.recorded for run in runs_in(tmp_path / "exp", kept))
    shutil.rmtree(tmp_path / "exp" / "seed=1,sparsity=dense")
    recorded = {run.folder for run in runs_in(tmp_path / "exp", kept) if run.recorded}
    assert recorded == {tmp_path / "records" / "seed=1,sparsity=dense"}


def test_replacing_a_record_of_other_settings_is_reported(tmp_path):
    make_experiment(tmp_path / "exp")
    run, records = tmp_path / "exp" / "sparsity=dense", tmp_path / "records"
    assert keep_record(run, ["sparsity=dense"], records) == "kept"
    (run / "evaluation" / "utterances.csv").write_text("of another time")
    assert keep_record(run, ["sparsity=dense"], records) == "there"
    kept = records / run.name / "evaluation" / "utterances.csv"
    assert kept.read_text() != "of another time"
    evaluate_again(run, "y")
    assert keep_record(run, ["sparsity=dense"], records) == "replaced"
    assert kept.read_text() == "of another time" and evaluated_as(records / run.name) == "y"
    assert [path.name for path in records.iterdir()] == [run.name]
    (run / "evaluation" / "stage.json").write_text('{"fingerprint": "z", "complete": false}')
    with pytest.raises(RecipeError, match="is not finished"):
        keep_record(run, ["sparsity=dense"], records)


@pytest.mark.parametrize("of", ["records", "exp"])
def test_runs_and_records_of_outdated_settings_are_separated(tmp_path, of):
    make_experiment(tmp_path / "exp")
    dense, gone = (tmp_path / "exp" / name for name in ("sparsity=dense", "seed=1,sparsity=dense"))
    evaluate_again(dense, "y")
    for run in read_runs(tmp_path / "exp"):
        write_overrides(run.folder, [run.folder.name])
    keep_all(tmp_path / "exp", tmp_path / "records")

    def current_fingerprint(overrides):
        if overrides == [gone.name]:
            raise RecipeError("no such setting")
        return "x"

    found = read_records(tmp_path / of) if of == "records" else read_runs(tmp_path / of)
    current, outdated = current_records(found, current_fingerprint)
    assert len(found) == 12 and len(current) == 10
    assert outdated == {
        tmp_path / of / dense.name: "it has other settings than today's",
        tmp_path / of / gone.name: "no such setting",
    }


def test_every_broken_record_is_named(tmp_path):
    make_experiment(tmp_path / "exp")
    keep_all(tmp_path / "exp", tmp_path / "records")
    (tmp_path / "records" / "sparsity=dense" / "evaluation" / "utterances.csv").unlink()
    (tmp_path / "records" / "seed=1,sparsity=dense" / "record.json").write_text("{")
    evaluation = tmp_path / "records" / "seed=2,sparsity=dense" / "evaluation"
    (evaluation / "stage.json").write_text('{"fingerprint": "x", "complete": false}')
    with pytest.raises(RecipeError) as raised:
        read_records(tmp_path / "records")
    lines = str(raised.value).splitlines()
    assert len(lines) == 4 and "utterances.csv is missing" in lines[3]
    assert read_records(tmp_path / "none") == []


def test_runs_of_different_precision_are_neither_averaged_nor_compared(tmp_path):
    make_experiment(tmp_path)
    for seed, precision in ((1, "bf16-mixed"), (2, "bf16-mixed"), (3, "32-true")):
        name = f"seed={seed},sparsity.start=0.4,sparsity=constant"
        add_run(tmp_path, name, seed, CONSTANT, 0.4, 0.40, 1.5, precision=precision)
    groups = grouped(runs_in(tmp_path))
    assert {group.label: len(group.runs) for group in groups if group.kind == "constant"} == {
        "Constant 40 % (training in bf16-mixed)": 2,
        "Constant 40 % (training in 32-true)": 1,
        "Constant 40 % (precision not recorded)": 1,
    }
    tables = {table.name: table for table in make_tables(groups, {}, tmp_path / "paper.yaml")}
    pairs = {row[0] for row in tables["losses_end"].test_rows[1:]}
    assert pairs == {
        "Constant 40 % (precision not recorded) − Dense",
        "Decaying 40 % − Dense",
        "Decaying 40 % − Constant 40 % (precision not recorded)",
    }
    precisions = {row[-1]: row[3] for row in tables["runs"].rows}
    assert precisions["seed=3,sparsity.start=0.4,sparsity=constant"] == "32-true"


def test_a_report_of_records_alone_says_that_it_has_no_audio(tmp_path):
    make_experiment(tmp_path / "exp")
    keep_all(tmp_path / "exp", tmp_path / "records")
    kept = [record.folder for record in read_records(tmp_path / "records")]
    groups = grouped(runs_in(tmp_path / "none", kept))
    config = composed("recipe.name=test")
    write_report(groups, [], {}, config, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "12 runs are in the tables as records" in page and "There is no audio:" in page
    assert "<li>Decaying 40 %, seed 3</li>" in page and "<audio" not in page
