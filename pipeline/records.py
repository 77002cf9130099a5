"""Records of finished runs: what tables need of a run, small enough to keep in a repository.

A record is a folder of the run's name, with some of the run's files in their places, so that
tables read both alike. It has no weights, masks or audio. In both, record.json has the overrides
that made the run, by which it is known whether today's configuration would make it again.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json

EVALUATION = ("evaluation/stage.json", "evaluation/metrics.json", "evaluation/utterances.csv")
"""The fingerprint in the first is of all that the run depends on, training included."""
TRAINING = ("train/metrics.csv", "train/sparsity.json")
"""Only trained runs have them, and only sparse ones have the last."""


@dataclass(frozen=True)
class Record:
    """A run's or record's folder, what made it, and the fingerprint of its evaluation."""

    folder: Path
    overrides: list[str]
    fingerprint: str


def evaluated_as(run: Path) -> str | None:
    """The fingerprint of a run's or record's finished evaluation; None where there is none."""
    path = run / "evaluation" / "stage.json"
    state = read_json(path) if path.exists() else {"complete": False}
    return state["fingerprint"] if state["complete"] else None


def read_records(folder: Path) -> list[Record]:
    """All records in a folder by name; none where it is not there.

    Raises:
        RecipeError: some lack files or hold broken ones; names all of them.
    """
    records, broken = [], []
    for path in sorted(each for each in folder.glob("[!.]*") if each.is_dir()):
        try:
            missing = [name for name in EVALUATION if not (path / name).exists()]
            if missing:
                raise FileNotFoundError(f"{missing[0]} is not there")
            fingerprint = evaluated_as(path)
            if fingerprint is None:
                raise ValueError("its evaluation is not finished")
            overrides = read_json(path / "record.json")["overrides"]
            records.append(Record(path, overrides, fingerprint))
        except (OSError, ValueError, KeyError, TypeError) as error:
            broken.append(f"{path}: {error}")
    if broken:
        raise RecipeError("\n".join(["no whole record of a run, remove or restore:", *broken]))
    return records


def write_overrides(run: Path, overrides: Iterable[str]) -> None:
    """Write record.json in a run's or record's folder."""
    write_json(run / "record.json", {"overrides": list(overrides)})


def read_runs(experiment: Path) -> list[Record]:
    """All finished runs of an experiment folder by name, as `read_records` reads records.

    One that stage 6 finished before it wrote down overrides has none, as the default run.
    """
    runs = []
    for path in sorted(experiment.glob("*")):
        if fingerprint := evaluated_as(path):
            written = path / "record.json"
            overrides = read_json(written)["overrides"] if written.exists() else []
            runs.append(Record(path, overrides, fingerprint))
    return runs


def keep_record(run: Path, overrides: Iterable[str], folder: Path) -> str:
    """Copy what tables need of a finished run to `<folder>/<name>`, whole or not at all.

    Returns:
        `kept`; `there`, where a record of the same evaluation is, and stays; or `replaced`, where
        there was one of other settings.

    Raises:
        RecipeError: the run is not finished.
    """
    fingerprint = evaluated_as(run)
    if fingerprint is None:
        raise RecipeError(f"{run} is not finished: run `make sweep`, or stages 4 to 6")
    record = folder / run.name
    if evaluated_as(record) == fingerprint:
        return "there"
    old = folder / f".{run.name[:150]}.{os.getpid()}.old"
    new = folder / f".{run.name[:150]}.{os.getpid()}.new"
    shutil.rmtree(new, ignore_errors=True)
    for name in (*EVALUATION, *(each for each in TRAINING if (run / each).exists())):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / name, new / name)
    write_overrides(new, overrides)
    replaced = record.exists()
    if replaced:
        record.rename(old)
    new.rename(record)
    shutil.rmtree(old, ignore_errors=True)
    return "replaced" if replaced else "kept"


def current_records(
    records: Iterable[Record], fingerprint_of: Callable[[list[str]], str]
) -> tuple[list[Path], dict[Path, str]]:
    """Folders of the runs that today's configuration would give again; of the others, why not.

    Args:
        records: of runs of one recipe.
        fingerprint_of: of the evaluation that overrides give; a `RecipeError` says that they
            fit the configuration no longer.
    """
    current, outdated = [], {}
    for record in records:
        try:
            if fingerprint_of(record.overrides) == record.fingerprint:
                current.append(record.folder)
            else:
                outdated[record.folder] = "it is of other settings than today's"
        except RecipeError as error:
            outdated[record.folder] = str(error)
    return current, outdated
