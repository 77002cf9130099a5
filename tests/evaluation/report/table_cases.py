"""Folders of runs with made-up results, as tables read them."""

import json
from pathlib import Path

import numpy as np

from evaluation.metrics.measures import MEASURES
from evaluation.report.collect import Run, finished_runs
from pipeline.files import write_csv
from pipeline.records import read_runs

DECAYING = {"kind": "decaying", "start": 0.4, "cap": 0.75}
CONSTANT = {"kind": "constant", "start": 0.4, "cap": 0.75}


def runs_in(experiment: Path, records=()) -> list[Run]:
    """All finished runs of a folder, whatever the current configuration is."""
    return finished_runs([run.folder for run in read_runs(experiment)], records)


def add_run(folder, name, seed, sparsity, level, error_rate, loss, words=10, sentences=40, **given):
    """Write a run with this word error rate and final loss; `given` adds to its record."""
    recogniser = given.pop("recogniser", "whisper")
    random = np.random.default_rng([seed, 5])  # the same sentences are hard for every system
    rows = []
    for number in range(sentences):
        errors = int(random.binomial(words, error_rate))
        row = {"set": "heldout", "id": f"s{number}"}
        row |= {"words": words, "word_errors": errors} if recogniser else {}
        rows.append(row | {"mos": 3 + 0.1 * seed})
    write_csv(folder / name / "evaluation" / "utterances.csv", list(rows[0]), rows)
    measures = {measure.name: measure.value(rows) for measure in MEASURES}
    training = {"seed": seed, "sparsity": sparsity, "updates": 100, "parameters": 2_000_000}
    training["context"] = "as usual"
    training["versions"] = {}
    training["sparsity_switches"] = [{"update": 0, "nominal": level, "achieved": level}]
    metrics = {"system": "model", "measures": measures, "training": training | given}
    metrics["definitions"] = {}
    metrics["synthesis"] = {"real_time_factors": {}, "vocoder": "hifigan"}
    metrics["recogniser"] = recogniser
    evaluation = folder / name / "evaluation"
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    (evaluation / "stage.json").write_text('{"fingerprint": "x", "complete": true}')
    parts = ["mel", "duration", "pitch", "energy"]
    curve = [
        {"update": update, "seconds": update / 10, "validation_total": loss + extra}
        | {f"validation_{part}": (loss + extra) / 4 for part in parts}
        for update, extra in ((10, 2.0), (50, 0.0), (100, 0.1))
    ]
    write_csv(folder / name / "train" / "metrics.csv", list(curve[0]), curve)


def make_experiment(folder: Path) -> None:
    """Dense, constant and decaying with four seeds; decaying makes far fewer errors than dense."""
    for seed, noise in enumerate([0.0, 0.01, -0.01, 0.005]):
        named = f"seed={seed}," if seed else ""
        dense, constant = {"kind": "dense"}, f"{named}sparsity.start=0.4,sparsity=constant"
        add_run(folder, f"{named}sparsity=dense", seed, dense, 0.0, 0.40, 1.5 + noise)
        add_run(folder, constant, seed, CONSTANT, 0.4, 0.40, 1.5 + 2 * noise)
        decaying = f"{named}sparsity.start=0.4,sparsity=decaying"
        add_run(folder, decaying, seed, DECAYING, 0.4, 0.10, 1.3 + noise)
