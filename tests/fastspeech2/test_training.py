"""Training in real processes: killed and resumed, stale or up to date, and with bad settings."""

import csv
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import composed, kill_when

from fastspeech2.synthesis.synthesiser import load_synthesiser
from fastspeech2.training.mask_files import read_masks
from fastspeech2.training.train import precision_of, require_batches
from pipeline.errors import RecipeError
from sniper import prunable_parameters

SHORT = [
    "trainer.updates=40",
    "trainer.val_every=5",
    "trainer.frames_per_batch=700",
    "samples=0",  # they would take longer than all updates
]
DECAYING = ["sparsity=decaying", "sparsity.scoring_batches=4", "sparsity.first_switch=0.2"]
CONSTANT = ["sparsity=constant", "sparsity.scoring_batches=4"]


def command(prepared: list[str], folder: Path, *overrides: str, sparsity=DECAYING) -> list[str]:
    script = "scripts/stage4_train.py"
    settings = [*prepared, *SHORT, *sparsity, *overrides, f"paths.experiment={folder}", "name=run"]
    return [sys.executable, script, *settings]


def run(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments, **options), capture_output=True, text=True)


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    result = run(prepared, folder)
    assert result.returncode == 0, result.stderr
    return folder / "run" / "train"


def rows(train: Path) -> list[dict]:
    with open(train / "metrics.csv", newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


# Before the first switch (update 8), between two switches, and after the last (update 32).
@pytest.mark.parametrize(
    "checkpoint",
    [pytest.param(5, marks=pytest.mark.slow), 20, pytest.param(35, marks=pytest.mark.slow)],
)
def test_killed_training_ends_bit_equal(prepared, uninterrupted, tmp_path, checkpoint):
    train = tmp_path / "run" / "train"
    awaited = train / "checkpoints" / f"{checkpoint:08d}.ckpt"
    kill_when(awaited.exists, command(prepared, tmp_path))

    resumed = run(prepared, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming an unfinished training" in resumed.stdout
    expected = torch.load(uninterrupted / "model.pt", weights_only=True)["model"]
    actual = torch.load(train / "model.pt", weights_only=True)["model"]
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert rows(train) == rows(uninterrupted)


@pytest.mark.slow
def test_killed_training_chooses_the_weights_that_an_uninterrupted_one_does(prepared, tmp_path):
    settings = ["trainer.updates=20", "selection=mcd", "selection.average=2"]
    settings += ["selection.utterances=1"]
    whole = run(prepared, tmp_path / "whole", *settings, sparsity=CONSTANT)
    assert whole.returncode == 0, whole.stderr
    killed = command(prepared, tmp_path / "killed", *settings, sparsity=CONSTANT)
    expected, actual = (tmp_path / name / "run" / "train" for name in ("whole", "killed"))
    kill_when((actual / "checkpoints" / "00000010.ckpt").exists, killed)
    resumed = run(prepared, tmp_path / "killed", *settings, sparsity=CONSTANT)
    assert "resuming an unfinished training" in resumed.stdout, resumed.stderr

    weights = [
        torch.load(each / "model.pt", weights_only=True)["model"] for each in (expected, actual)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert rows(actual) == rows(expected) and len(rows(actual)) == 4
    distortions = {int(row["update"]): float(row["validation_mcd"]) for row in rows(expected)}
    chosen = [
        json.loads((each / "record.json").read_text())["selection"]["chosen"]
        for each in (expected, actual)
    ]
    assert chosen[0] == chosen[1]
    assert [each["value"] for each in chosen[0]] == sorted(distortions.values())[:2]
    assert all(distortions[each["update"]] == each["value"] for each in chosen[0])


@pytest.mark.slow
def test_a_truncated_checkpoint_is_skipped_for_the_one_before(prepared, uninterrupted, tmp_path):
    train = tmp_path / "run" / "train"
    kill_when((train / "checkpoints" / "00000015.ckpt").exists, command(prepared, tmp_path))
    newest = max((train / "checkpoints").glob("*.ckpt"))
    newest.write_bytes(newest.read_bytes()[:10_000])

    resumed = run(prepared, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{newest} cannot be read" in resumed.stderr
    expected = torch.load(uninterrupted / "model.pt", weights_only=True)["model"]
    actual = torch.load(train / "model.pt", weights_only=True)["model"]
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


def test_training_killed_after_its_last_checkpoint_is_recorded_as_it_was(
    prepared, uninterrupted, tmp_path
):
    train = tmp_path / "run" / "train"
    shutil.copytree(uninterrupted, train)
    stage = json.loads((train / "stage.json").read_text())
    (train / "stage.json").write_text(json.dumps(stage | {"complete": False}))
    for name in ("model.pt", "record.json", "sparsity.json"):
        (train / name).unlink()
    result = run(prepared, tmp_path)
    assert result.returncode == 0, result.stderr
    weights = [
        torch.load(each / "model.pt", weights_only=True)["model"] for each in (uninterrupted, train)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    whole, again = (
        {name: json.loads((each / name).read_text()) for name in ("record.json", "sparsity.json")}
        for each in (uninterrupted, train)
    )
    times = ["train_seconds", "updates_per_second", "peak_memory_mb"]
    (most, *_), (seconds, *_) = (
        [each["record.json"].pop(name) for name in times] for each in (whole, again)
    )
    with open(train / "metrics.csv", newline="") as file:
        least = float([row["seconds"] for row in csv.DictReader(file)][-1])
    assert least <= seconds <= most
    assert again == whole


def test_record_says_what_was_held_out_and_left_out(uninterrupted):
    record = json.loads((uninterrupted / "record.json").read_text())
    splits = record["splits"]
    assert splits.pop("train") > 490
    assert splits == {"name": "distinct", "validation": 24, "test": 30}
    assert record["left_out"] == {"sound_outside": 3} and record["skipped_updates"] == 0


def test_record_and_logged_sparsity_follow_the_schedule(uninterrupted):
    record = json.loads((uninterrupted / "record.json").read_text())
    switches = [(s["update"], s["nominal"]) for s in record["sparsity_switches"]]
    assert switches == [(0, 0.4), (8, 0.2), (16, 0.1), (32, 0.0)]
    for switch in record["sparsity_switches"]:
        assert switch["achieved"] == pytest.approx(switch["nominal"], abs=1e-3)
    logged = {int(row["update"]): float(row["sparsity"]) for row in rows(uninterrupted)}
    assert [logged[update] for update in (5, 10, 20, 30, 35)] == pytest.approx(
        [0.4, 0.2, 0.1, 0.1, 0.0], abs=1e-3
    )


def test_masks_of_every_switch_are_written_and_nested(uninterrupted):
    files = sorted((uninterrupted / "masks").iterdir())
    assert [file.name for file in files] == [f"{u:08d}.npz" for u in (0, 8, 16, 32)]
    masks = [read_masks(file) for file in files]
    record = json.loads((uninterrupted / "sparsity.json").read_text())
    for present, switch in zip(masks, record, strict=True):
        assert {name: 1 - mask.mean() for name, mask in present.items()} == pytest.approx(
            switch["tensors"]
        )
    for before, after in pairwise(masks):
        assert all((after[name] | ~before[name]).all() for name in before)


def test_a_finished_run_keeps_its_zeros_is_not_repeated_and_a_changed_one_is(prepared, tmp_path):
    settings = ["selection=loss", "selection.average=2", "trainer.updates=12"]
    first = run(prepared, tmp_path, *settings, sparsity=CONSTANT)
    assert first.returncode == 0, first.stderr
    train = tmp_path / "run" / "train"
    chosen = json.loads((train / "record.json").read_text())["selection"]["chosen"]
    losses = {int(row["update"]): float(row["validation_total"]) for row in rows(train)}
    assert {each["update"]: each["value"] for each in chosen} == losses
    assert len(losses) == 2 and not (train / "candidates").exists()
    weights = prunable_parameters(load_synthesiser(tmp_path / "run").acoustic.model).values()
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros / sum(weight.numel() for weight in weights) == pytest.approx(0.4, abs=1e-3)

    model = tmp_path / "run" / "train" / "model.pt"
    written = model.stat().st_mtime_ns
    again = run(prepared, tmp_path, *settings, sparsity=CONSTANT)
    assert "up to date" in again.stdout and model.stat().st_mtime_ns == written
    changed = run(prepared, tmp_path, *settings[:2], "trainer.updates=13", sparsity=CONSTANT)
    assert changed.returncode == 0 and "going on" not in changed.stdout
    assert model.stat().st_mtime_ns > written


TWICE = ["sparsity=decaying", "sparsity.first_switch=0.25", "sparsity.lowest=0.2"]


# One process scores three of the five batches, and the other two.
@pytest.mark.slow
@pytest.mark.parametrize(
    "sparsity",
    [[], [*TWICE, "sparsity.scoring_batches=5"]],
    ids=["dense", "decaying"],
)
def test_two_processes_learn_what_one_does_that_accumulates(prepared, tmp_path, sparsity):
    """With gloo. Adam's usual eps would turn rounding errors of zero gradients into steps."""
    settings = ["trainer.precision=32-true", "trainer.updates=4", "trainer.optimizer.eps=1e-3"]
    settings += ["trainer.val_every=1"]
    alone = run(prepared, tmp_path / "one", *settings, "trainer.accumulate=2", sparsity=sparsity)
    assert alone.returncode == 0, alone.stderr
    python, *script = command(
        prepared, tmp_path / "two", *settings, "trainer.devices=2", sparsity=sparsity
    )
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    both = subprocess.run([python, *launcher, *script], capture_output=True, text=True)
    assert both.returncode == 0, both.stderr

    one, two = tmp_path / "one" / "run" / "train", tmp_path / "two" / "run" / "train"
    assert len(rows(one)) == 4
    for single, double in zip(rows(one), rows(two), strict=True):
        for name in single:
            assert float(double[name]) == pytest.approx(float(single[name]), rel=1e-5), name
    files = [sorted((folder / "masks").glob("*.npz")) for folder in (one, two)]
    assert [len(each) for each in files] == ([3, 3] if sparsity else [0, 0])
    for single, double in zip(*files, strict=True):
        expected, actual = read_masks(single), read_masks(double)
        for name, mask in expected.items():
            assert (actual[name] == mask).all(), f"{single.name}: {name}"
    expected, actual = (
        torch.load(folder / "model.pt", weights_only=True)["model"] for folder in (one, two)
    )
    for name, weight in expected.items():
        torch.testing.assert_close(actual[name], weight, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sparsity.start=40", "sparsity.start=40: give a number above 0 and below 1"),
        ("trainer.devices=2", "but 1 process started: run `torchrun --nproc_per_node=2"),
        ("trainer.updates=2", "is too short for the sparsity levels"),
        ("paths.features=nowhere", "nowhere is missing or outdated: run `make stage3`"),
        ("sparsity.strat=0.2", "no setting of this name; did you mean sparsity.start?"),
    ],
)
def test_settings_that_cannot_be_met_are_told(prepared, tmp_path, override, message):
    result = run(prepared, tmp_path, override)
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr


def test_what_lightning_would_do_wrong_or_tell_unclearly_is_told():
    for known in ("32-true", "bf16-mixed"):
        assert precision_of(composed(f"trainer.precision={known}").trainer) == known
    assert precision_of(composed().trainer) in ("32-true", "bf16-mixed")
    with pytest.raises(RecipeError, match="precision=16-mixed: choose one of auto, 32-true, bf16-"):
        composed("trainer.precision=16-mixed")
    require_batches([[0], [1, 2]], 2)
    with pytest.raises(RecipeError, match="makes 1 batch, which 2 processes cannot share"):
        require_batches([[0, 1, 2]], 2)
