"""Records are carried over renamed settings, and over no other change."""

import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import PROJECT

from carry_records import Change, carry, describe, differences, renamed_override
from pipeline.configuration import run_name
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json
from pipeline.records import read_records, write_overrides

RUNS = PROJECT / "recipes" / "allison" / "results" / "paper" / "runs"
SETTINGS = "trainer.precision=32-true,trainer.updates=16000,vocoder.precision=32"
KEPT = ["natural", f"seed=1,sparsity.start=0.2,sparsity=decaying,{SETTINGS}"]
CHANGE = Change(renamed={"trainer.val_every": "trainer.validate_every"}, added={"fresh": 1})


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project that has renamed a setting since its last revision, and records of that revision.

    The records are two of the committed ones. The trained one also sets what is then renamed.
    """
    project = tmp_path_factory.mktemp("project")
    rooms = ("audio", "preprocessing", "hifigan", "fastspeech2", "speech", "evaluation")
    for folder in ("pipeline", "conf", *rooms):
        shutil.copytree(PROJECT / folder, project / folder)
    (project / "recipes" / "allison").mkdir(parents=True)
    shutil.copy(PROJECT / "recipes" / "allison" / "sentences.txt", project / "recipes" / "allison")
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*author, "commit", "-q", "-m", "before"]):
        subprocess.run(["git", *command], cwd=project, check=True)

    overrides = [read_json(RUNS / name / "record.json")["overrides"] for name in KEPT]
    overrides[1].append("trainer.val_every=50")
    names = ["natural", run_name(overrides[1])]
    described = describe(project, overrides, project)
    for old, name, given, found in zip(KEPT, names, overrides, described, strict=True):
        record = shutil.copytree(RUNS / old, project / "records" / name)
        write_overrides(record, given)
        state = {"fingerprint": found["fingerprint"], "complete": True}
        write_json(record / "evaluation" / "stage.json", state)
        metrics = read_json(record / "evaluation" / "metrics.json")
        if metrics["training"]:
            metrics["training"]["context"] = found["context"]
        write_json(record / "evaluation" / "metrics.json", metrics)

    for path in (project / "conf" / "trainer").glob("*.yaml"):
        path.write_text(path.read_text().replace("val_every:", "validate_every:"))
    sections = project / "fastspeech2" / "settings.py"
    sections.write_text(sections.read_text().replace("val_every:", "validate_every:"))
    for path, line in {
        "conf/config.yaml": "fresh: 1",
        "pipeline/sections.py": "    fresh: int",
    }.items():
        with (project / path).open("a") as file:
            file.write(f"\n{line}\n")
    return project


@pytest.fixture
def records(project, tmp_path) -> Path:
    return shutil.copytree(project / "records", tmp_path / "records")


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_a_renamed_setting_changes_names_and_digests_alone(project, records):
    before, old = contents(records), read_records(records)[1]
    was = read_json(old.folder / "evaluation" / "metrics.json")
    printed = carry(records, "HEAD", "allison", CHANGE, project)
    natural, trained = read_records(records)
    assert natural.folder.name == "natural"
    assert trained.folder.name == old.folder.name.replace("val_every", "validate_every")
    assert f"{trained.folder.name}: {old.fingerprint} -> {trained.fingerprint}" in printed

    found = describe(project, [natural.overrides, trained.overrides], project)
    assert [natural.fingerprint, trained.fingerprint] == [each["fingerprint"] for each in found]
    metrics = read_json(trained.folder / "evaluation" / "metrics.json")
    assert metrics["training"]["context"] == found[1]["context"] != was["training"]["context"]
    assert metrics["name"] == metrics["training"]["name"] == trained.folder.name
    for one in (was, metrics):
        del one["name"], one["training"]["name"], one["training"]["context"]
    assert was == metrics
    after = contents(records)
    moved = {path.replace("val_every", "validate_every"): text for path, text in before.items()}
    assert moved.keys() == after.keys()
    changed = {Path(path).name for path, text in moved.items() if after[path] != text}
    assert changed == {"record.json", "stage.json", "metrics.json"}


def test_records_of_another_revision_are_refused_and_nothing_is_written(project, records):
    stage = records / "natural" / "evaluation" / "stage.json"
    write_json(stage, {"fingerprint": "of other settings", "complete": True})
    before = contents(records)
    with pytest.raises(RecipeError, match="its fingerprint is of other settings, but that revis"):
        carry(records, "HEAD", "allison", CHANGE, project)
    assert contents(records) == before


@pytest.mark.slow
def test_other_changes_are_refused_and_nothing_is_written(project, records):
    before = contents(records)
    with pytest.raises(RecipeError, match=r"carried over:\n  fresh=1 is new \(natural"):
        carry(records, "HEAD", "allison", Change(renamed=CHANGE.renamed), project)
    with pytest.raises(
        RecipeError, match="cannot compose .* trainer.val_every=50: there is no setting"
    ):
        carry(records, "HEAD", "allison", Change(), project)
    with pytest.raises(RecipeError, match="no revision nowhere"):
        carry(records, "nowhere", "allison", CHANGE, project)
    assert contents(records) == before


def test_every_difference_between_configurations_is_named():
    old = {"a": {"b": 1, "gone": 2}, "same": [1], "paths": {"data": "x"}, "off": False}
    new = {"a": {"c": 1, "fresh": 3}, "same": [1], "paths": {"data": "y"}}
    change = Change(renamed={"a.b": "a.c"}, added={"a.fresh": 3}, removed={"a.gone": 2})
    assert differences(old, new, change) == ["off=False is gone"]
    change = Change(renamed={"a.b": "a.c"}, added={"a.fresh": 4}, removed={"a.gone": 1})
    assert differences(old, new, change) == [
        "a.gone is 2 in the old configuration, not 1",
        "a.fresh is 3 in the new configuration, not 4",
        "off=False is gone",
    ]
    unneeded = Change(renamed={"x": "y"}, added={"same": [2]}, removed={"same": [2]})
    assert differences(old, new, unneeded) == [
        "a.b=1 is gone",
        "a.c=1 is new",
        "a.fresh=3 is new",
        "a.gone=2 is gone",
        "off=False is gone",
    ]
    new["a"]["c"] = 1.5
    assert "a.c was 1 and is 1.5" in differences(old, new, Change(renamed={"a.b": "a.c"}))


def test_overrides_keep_their_signs():
    names = {"trainer.epoch": "trainer.val_every"}
    given = ["trainer.epoch=50", "+trainer.epoch=50", "~trainer.epoch", "trainer.epochs=1"]
    assert [renamed_override(each, names) for each in given] == [
        "trainer.val_every=50",
        "+trainer.val_every=50",
        "~trainer.val_every",
        "trainer.epochs=1",
    ]
