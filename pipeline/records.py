"""Records of finished runs: what tables need of a run, small enough to keep in a repository.

A record is a folder with the name of the run and with some of the run's files in the same places,
so tables are made from both in the same way. It has no weights, masks or audio. In a run as in a
record, record.json has the overrides of the run. With them today's configuration can be composed,
which shows whether it would still give the same run.
"""

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json

EVALUATION = ("evaluation/stage.json", "evaluation/metrics.json", "evaluation/utterances.csv")
"""The fingerprint in stage.json covers all that the run depends on, its training included."""
TRAINING = ("train/metrics.csv", "train/sparsity.json")
"""Only trained runs have these, and only sparse ones have sparsity.json."""


@dataclass(frozen=True)
class Record:
    """A run's folder or its record's, its overrides, and the fingerprint of its evaluation."""

    folder: Path
    overrides: list[str]
    fingerprint: str


def evaluated_as(run: Path) -> str | None:
    """The fingerprint of the evaluation of a run or record; None if that is not finished."""
    path = run / "evaluation" / "stage.json"
    state = read_json(path) if path.exists() else {"complete": False}
    return state["fingerprint"] if state["complete"] else None


def read_records(folder: Path) -> list[Record]:
    """All records in a folder, ordered by name; none if the folder does not exist.

    Raises:
        RecipeError: records lack files or have broken ones; names all of them.
    """
    records, broken = [], []
    for path in sorted(each for each in folder.glob("[!.]*") if each.is_dir()):
        try:
            missing = [name for name in EVALUATION if not (path / name).exists()]
            if missing:
                raise FileNotFoundError(f"{missing[0]} is missing")
            fingerprint = evaluated_as(path)
            if fingerprint is None:
                raise ValueError("its evaluation is not finished")
            overrides = read_json(path / "record.json")["overrides"]
            records.append(Record(path, overrides, fingerprint))
        except (OSError, ValueError, KeyError, TypeError) as error:
            broken.append(f"{path}: {error}")
    if broken:
        raise RecipeError("\n".join(["remove or restore these incomplete records:", *broken]))
    return records


def write_overrides(run: Path, overrides: Iterable[str]) -> None:
    """Write record.json into the folder of a run or record."""
    write_json(run / "record.json", {"overrides": list(overrides)})


def read_runs(experiment: Path) -> list[Record]:
    """All finished runs of an experiment folder, ordered by name.

    Runs of older versions have no record.json and get no overrides, like the default run.
    """
    runs = []
    for path in sorted(experiment.glob("*")):
        if fingerprint := evaluated_as(path):
            written = path / "record.json"
            overrides = read_json(written)["overrides"] if written.exists() else []
            runs.append(Record(path, overrides, fingerprint))
    return runs


def keep_record(run: Path, overrides: Iterable[str], folder: Path) -> str:
    """Copy what tables need of a finished run to `<folder>/<name>`, completely or not at all.

    Returns:
        `kept`; `there` if a record of the same evaluation exists, which is left alone; or
        `replaced` if there was a record with other settings.

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
    """Tell records that today's configuration would give again from outdated ones.

    Args:
        records: of one recipe; or its runs.
        fingerprint_of: gives the fingerprint of an evaluation for a run's overrides. It raises
            `RecipeError` if they no longer fit the configuration.

    Returns:
        The folders of the current ones, and for the folder of each outdated one the reason.
    """
    current, outdated = [], {}
    for record in records:
        try:
            if fingerprint_of(record.overrides) == record.fingerprint:
                current.append(record.folder)
            else:
                outdated[record.folder] = "it has other settings than today's"
        except RecipeError as error:
            outdated[record.folder] = str(error)
    return current, outdated
