"""Carry records of runs over a change of configuration that renames settings.

A record counts as long as today's configuration gives its fingerprint. A renamed setting changes
that, although the run would be the same. After renaming, fill in `CHANGE` below and run

    python scripts/carry_records.py recipes/allison/results/paper/runs <revision before the change>

For each record this composes its overrides with the configuration and the code of that revision and
checks that they give the fingerprints that the record has. It then composes the renamed overrides
with today's configuration, and checks that the two differ in nothing but the tables. Records are
changed only if all of them pass: overrides and folder names, the fingerprint in
evaluation/stage.json, and the training's context in evaluation/metrics.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.configuration import PROJECT, run_name, run_settings
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json
from pipeline.records import Record, read_records, write_overrides


@dataclass(frozen=True)
class Change:
    """How the settings differ between two configurations that give the same run."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """from a setting's old dotted name to its new one"""
    added: Mapping[str, Any] = field(default_factory=dict)
    """new settings, with the value that stands for the old behaviour"""
    removed: Mapping[str, Any] = field(default_factory=dict)
    """settings that are gone, with the value that stands for today's behaviour"""


CHANGE = Change()

# Runs in a process of its own, in which the packages of one revision or the other are imported.
DESCRIBE = """
import json, sys
from evaluation.settings import Settings
from pipeline.configuration import compose
from pipeline.errors import RecipeError
from pipeline.stages import EVALUATION, training_context

found = []
for overrides in json.loads(sys.argv[1]):
    try:
        config = compose(Settings, [*overrides, "name=run"])
    except RecipeError as error:
        sys.exit(str(error))
    found.append({
        "config": config.plain(),
        "fingerprint": EVALUATION.fingerprint(config),
        "context": training_context(config),
    })
print(json.dumps(found))
"""


def describe(code: Path, overrides: Sequence[Sequence[str]], project: Path) -> list[dict]:
    """Compose configurations with the code and conf/ of a checkout.

    Files that settings name, such as the sentences of other domains, are today's: their contents
    are part of a fingerprint, so a change of them shows as another fingerprint.

    Args:
        code: the checkout.
        overrides: of each configuration.
        project: the folder to which paths in the configuration are relative.

    Returns:
        For each, its resolved `config`, the `fingerprint` of its evaluation and the `context` of
        its training.

    Raises:
        RecipeError: an override does not fit the configuration.
    """
    done = subprocess.run(
        [sys.executable, "-c", DESCRIBE, json.dumps([*map(list, overrides)])],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RecipeError(f"cannot compose with {code / 'conf'}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def checkout(revision: str, project: Path, folder: Path) -> Path:
    """Write the files of a git revision of the project into a folder.

    Raises:
        RecipeError: git does not know the revision.
    """
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision], cwd=project, capture_output=True
    )
    if archive.returncode:
        raise RecipeError(f"no revision {revision}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def renamed_override(override: str, names: Mapping[str, str]) -> str:
    """An override such as `+trainer.epoch=50` with the new name of its setting."""
    key, equals, value = override.partition("=")
    bare = key.lstrip("+~")
    return key.removesuffix(bare) + names.get(bare, bare) + equals + value


def leaves(config: Any, name: str = "") -> dict[str, Any]:
    """The values of a configuration that can change what a run computes, by their dotted names."""
    if isinstance(config, dict) and config:
        found = {}
        for key, value in config.items():
            found |= leaves(value, f"{name}.{key}" if name else key)
        return found
    return {name: config} if run_settings([f"{name}="]) else {}


def differences(old: dict, new: dict, change: Change) -> list[str]:
    """What differs between two resolved configurations beyond a known change, one line each."""
    old, new = leaves(old), leaves(new)
    problems = []
    tables = ((change.removed, old, new, "old"), (change.added, new, old, "new"))
    for table, values, others, when in tables:
        for name in sorted(table.keys() & values.keys() - others.keys()):
            if (found := values.pop(name)) != table[name]:
                problems.append(f"{name} is {found} in the {when} configuration, not {table[name]}")
    old = {change.renamed.get(name, name): value for name, value in old.items()}
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            problems.append(f"{name}={old[name]} is gone")
        elif name not in old:
            problems.append(f"{name}={new[name]} is new")
        elif old[name] != new[name]:
            problems.append(f"{name} was {old[name]} and is {new[name]}")
    return problems


def carry(
    folder: Path, revision: str, recipe: str, change: Change = CHANGE, project: Path = PROJECT
) -> list[str]:
    """Carry all records of a folder over; return a line for each.

    Args:
        folder: of the records.
        revision: of git, before the change.
        recipe: of all records.
        change: what differs between that revision and today.
        project: the checkout of today.

    Raises:
        RecipeError: a record does not have the fingerprints of the revision, or the configurations
            differ in more than the change; names every record and difference, and nothing is
            written.
    """
    records = read_records(folder)
    old_overrides = [[f"recipe={recipe}", *record.overrides] for record in records]
    new_overrides = [
        [renamed_override(each, change.renamed) for each in overrides]
        for overrides in old_overrides
    ]
    with tempfile.TemporaryDirectory() as temporary:
        code = checkout(revision, project, Path(temporary))
        before = describe(code, old_overrides, project)
    after = describe(project, new_overrides, project)
    problems: dict[str, list[str]] = {}
    for record, old, new in zip(records, before, after, strict=True):
        for problem in _unlike(record, old) + differences(old["config"], new["config"], change):
            problems.setdefault(problem, []).append(record.folder.name)
    if problems:
        lines = [f"  {problem} ({', '.join(names)})" for problem, names in problems.items()]
        raise RecipeError("\n".join(["nothing was carried over:", *lines]))
    return [
        _write(record, overrides[1:], new)
        for record, overrides, new in zip(records, new_overrides, after, strict=True)
    ]


def _unlike(record: Record, old: dict) -> list[str]:
    """Where a record differs from what the old revision gives for its overrides."""
    problems = []
    if record.fingerprint != old["fingerprint"]:
        problems.append(
            f"its fingerprint is {record.fingerprint}, but that revision gives {old['fingerprint']}"
        )
    training = read_json(record.folder / "evaluation" / "metrics.json")["training"]
    if training and training["context"] != old["context"]:
        problems.append(
            f"its context is {training['context']}, but that revision gives {old['context']}"
        )
    return problems


def _write(record: Record, overrides: list[str], new: dict) -> str:
    """Write a record's new overrides, fingerprint, context and name; return what was done."""
    folder, evaluation = record.folder, record.folder / "evaluation"
    named_by_settings = folder.name == run_name(record.overrides)
    name = run_name(overrides) if named_by_settings else folder.name
    metrics = read_json(evaluation / "metrics.json")
    metrics["name"] = name
    if metrics["training"]:
        metrics["training"] |= {"name": name, "context": new["context"]}
    write_json(evaluation / "metrics.json", metrics)
    write_overrides(folder, overrides)
    state = read_json(evaluation / "stage.json") | {"fingerprint": new["fingerprint"]}
    write_json(evaluation / "stage.json", state)
    if name != folder.name:
        folder.rename(folder.with_name(name))
    return f"{name}: {record.fingerprint} -> {new['fingerprint']}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="folder of the records")
    parser.add_argument("revision", help="git revision before the settings were renamed")
    parser.add_argument("--recipe", default="allison")
    arguments = parser.parse_args()
    try:
        print("\n".join(carry(arguments.records, arguments.revision, arguments.recipe)))
    except RecipeError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
