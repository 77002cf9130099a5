"""The limits that `make demo` checks at its end."""

from pathlib import Path

from omegaconf import OmegaConf

from evaluation.report.collect import Run
from evaluation.report.limits import STARTED, compare_with_limits, print_time


def run(label: str, kind: str | None = None, **measures: float) -> Run:
    training = {"seed": 0, "sparsity": {"kind": kind}} if kind else None
    metrics = {"system": "model" if kind else "vocoded", "training": training}
    return Run(Path(label), label, metrics | {"measures": measures})


def test_each_limit_is_told_beside_the_first_value_of_its_system():
    limits = {"vocoded": {"wer_heldout": 0.04}, "dense": {"wer_heldout": 0.06, "mos_heldout": 3.2}}
    runs = [
        run("Vocoded", wer_heldout=0.04, mos_heldout=4.0),
        run("Dense", "dense", wer_heldout=0.061, mos_heldout=3.2),
        run("Dense again", "dense", wer_heldout=0.0, mos_heldout=5.0),
    ]
    assert compare_with_limits(runs, limits) == [
        ("Vocoded: WER held-out, % 4.0, asked: at most 4", True),
        ("Dense: WER held-out, % 6.1, asked: at most 6", False),
        ("Dense: DistillMOS held-out 3.20, asked: at least 3.2", True),
    ]
    better = [runs[0], run("Dense", "dense", wer_heldout=0.06, mos_heldout=3.19)]
    assert [met for _, met in compare_with_limits(better, limits)] == [True, True, False]


def test_the_time_since_the_start_stands_beside_the_limit_of_this_machine(monkeypatch, capsys):
    monkeypatch.setenv(STARTED, "1000")
    monkeypatch.setattr("time.time", lambda: 1000 + 90.0)
    config = OmegaConf.create({"sweep": {"minutes": {"wide": 9, "narrow": 20}}})
    print_time(config)
    told = capsys.readouterr().out
    assert told.startswith("1.5 min; asked on two cores with")
    assert ("with AVX-512 or AMX: at most 9" in told) != (
        "without AVX-512 and AMX: at most 20" in told
    )
