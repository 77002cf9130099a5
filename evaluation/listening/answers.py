"""Answers of listeners: what they have to look like, and reading files that anybody may have made.

One listener's answers are a JSON object:

    {"test": "<id>", "listener": "<32 hexadecimal digits>", "plan": 7, "headphones": true,
     "seconds": 412.5,
     "answers": [{"answer": "left", "plays": [1, 2]}, {"answer": 4, "plays": [1]}]}

with an answer for each trial of the plan, in its order: `left`, `right` or `same` for a preference,
1 to 5 for a rating; `plays` says how often each clip was heard to its end.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.listening.design import PREFERENCE, Plan, Trial
from pipeline.errors import RecipeError
from pipeline.files import read_json

MOST_BYTES = 200_000
"""Of one listener's answers."""
FIELDS = {"test", "listener", "plan", "headphones", "seconds", "answers"}


class AnswerError(RecipeError):
    """Answers that are refused, and why."""


@dataclass(frozen=True)
class Key:
    """What key.json says: the test's id, systems' labels by run, and the plans."""

    test: str
    labels: dict[str, str]
    plans: list[Plan]


def read_key(folder: Path) -> Key:
    """The key of the test in this folder.

    Raises:
        RecipeError: there is no test.
    """
    path = folder / "key.json"
    if not path.exists():
        raise RecipeError(f"{path} is not there: run `make listening-test` first")
    saved = read_json(path)
    plans = [
        [Trial(each["kind"], each["sentence"], tuple(each["systems"])) for each in plan]
        for plan in saved["plans"]
    ]
    return Key(saved["test"], saved["labels"], plans)


def parse(text: bytes | str) -> Any:
    """JSON as its standard has it: no NaN, no repeated names.

    Raises:
        AnswerError: it is not.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name is repeated")
        return dict(pairs)

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise AnswerError(f"not JSON: {error}") from None


def check(found: Any, key: Key) -> dict:
    """The answers, if they are whole and belong to this test.

    Raises:
        AnswerError: the first fault.
    """
    _require(isinstance(found, dict), "not a JSON object")
    _require(found.keys() == FIELDS, f"the fields are not {', '.join(sorted(FIELDS))}")
    _require(found["test"] == key.test, "answers to another test")
    listener = found["listener"]
    _require(
        isinstance(listener, str) and re.fullmatch("[0-9a-f]{32}", listener) is not None,
        "listener is not 32 hexadecimal digits",
    )
    _require(
        type(found["plan"]) is int and 0 <= found["plan"] < len(key.plans),
        f"plan is not 0 to {len(key.plans) - 1}",
    )
    _require(isinstance(found["headphones"], bool), "headphones is not true or false")
    seconds = found["seconds"]
    _require(
        type(seconds) in (int, float) and 0 <= seconds < 1e9 and math.isfinite(seconds),
        "seconds is no duration",
    )
    plan, answers = key.plans[found["plan"]], found["answers"]
    _require(
        isinstance(answers, list) and len(answers) == len(plan),
        f"answers are not a list of {len(plan)}",
    )
    for number, (answer, trial) in enumerate(zip(answers, plan, strict=True), 1):
        _check_one(answer, trial, number)
    return found


def _check_one(answer: Any, trial: Trial, number: int) -> None:
    where = f"answer {number}"
    _require(isinstance(answer, dict), f"{where} is not an object")
    _require(answer.keys() == {"answer", "plays"}, f"{where}: the fields are not answer and plays")
    value, plays = answer["answer"], answer["plays"]
    if trial.kind == PREFERENCE:
        _require(value in ("left", "right", "same"), f"{where} is not left, right or same")
    else:
        _require(type(value) is int and 1 <= value <= 5, f"{where} is not 1 to 5")
    clips = len(trial.systems)
    _require(
        isinstance(plays, list)
        and len(plays) == clips
        and all(type(each) is int and 0 <= each < 10_000 for each in plays),
        f"{where}: plays are not {clips} counts",
    )
    _require(min(plays) >= 1, f"{where}: a clip was not heard")


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise AnswerError(reason)


def identity(answers: dict) -> str:
    """The same for the same answers under another listener's name."""
    return json.dumps([answers["plan"], answers["seconds"], answers["answers"]])


def read_answers(source: Path, key: Key) -> tuple[list[dict], list[tuple[str, str]]]:
    """Good answers of a file (.json, or .jsonl of one a line) or all files in a folder.

    Returns:
        The answers, in the order of their files' names, and what was refused: (where, reason).

    Raises:
        RecipeError: there is no such file or folder.
    """
    if not source.exists():
        raise RecipeError(f"{source} is not there: RESULTS is a file or folder of answers")
    accepted, refused = [], []
    seen: dict[str, str] = {}
    for where, text in _texts(source):
        try:
            _require(text is not None, "not a plain file whose name ends in .json or .jsonl")
            _require(len(text) <= MOST_BYTES, f"more than {MOST_BYTES} bytes")
            answers = check(parse(text), key)
            for mark in (answers["listener"], identity(answers)):
                _require(mark not in seen, f"a duplicate of {seen.get(mark)}")
        except AnswerError as error:
            refused.append((where, str(error)))
            continue
        seen |= {answers["listener"]: where, identity(answers): where}
        accepted.append(answers)
    return accepted, refused


def _texts(source: Path) -> Iterator[tuple[str, bytes | None]]:
    """Names of places and what is there; what is too large is cut, and so is refused.

    None instead of a link or of a file of another kind. In a folder, files of other names are not
    looked at.
    """
    folder = source if source.is_dir() else source.parent
    kinds = (".json", ".jsonl")
    inside = sorted(path for path in source.glob("[!.]*") if path.suffix.lower() in kinds)
    for path in inside if source.is_dir() else [source]:
        name = str(path.relative_to(folder))
        # A link may point anywhere, and a pipe would never end.
        if path.suffix.lower() not in kinds or path.is_symlink() or not path.is_file():
            yield name, None
            continue
        if path.suffix.lower() == ".json":
            with path.open("rb") as file:
                yield name, file.read(MOST_BYTES + 1)
            continue
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MOST_BYTES + 1):
                number += 1
                yield f"{name}, line {number}", line
                while len(line) > MOST_BYTES and not line.endswith(b"\n"):
                    line = file.readline(MOST_BYTES + 1)
