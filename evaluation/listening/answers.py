"""The format of answers, its validation, and reading files of answers from any source.

The answers of one listener are a JSON object:

    {"test": "<id>", "listener": "<32 hexadecimal digits>", "participant": "<id or null>",
     "plan": 7, "headphones": true, "seconds": 412.5,
     "answers": [{"answer": "left", "plays": [1, 2]}, {"answer": 4, "plays": [1]}]}

It has one answer for each trial of the plan, in order. An answer is `left`, `right` or `same` for a
preference, and 1 to 5 for a rating; `plays` counts how often each clip was heard to its end.
`participant` is the id that a crowdsourcing platform put into the page's address. It may be absent.
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

MAX_BYTES = 200_000
"""Size limit for the answers of one listener."""
FIELDS = {"test", "listener", "plan", "headphones", "seconds", "answers"}
KINDS = (".json", ".jsonl")


class AnswerError(RecipeError):
    """The reason why answers are refused."""


@dataclass(frozen=True)
class Key:
    """The contents of key.json: the test's id, a label for each run, and the plans."""

    test: str
    labels: dict[str, str]
    plans: list[Plan]


def read_key(folder: Path) -> Key:
    """Read the key of the test in this folder.

    Raises:
        RecipeError: the folder holds no test.
    """
    path = folder / "key.json"
    if not path.exists():
        raise RecipeError(f"{path} does not exist: run `make listening-test` first")
    saved = read_json(path)
    plans = [
        [Trial(each["kind"], each["sentence"], tuple(each["systems"])) for each in plan]
        for plan in saved["plans"]
    ]
    return Key(saved["test"], saved["labels"], plans)


def parse(text: bytes | str) -> Any:
    """Parse strict JSON, without NaN and repeated names, which Python's parser allows.

    Raises:
        AnswerError: the text is not strict JSON.
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
    """Return the parsed answers if they are complete and belong to this test.

    Raises:
        AnswerError: describes the first fault.
    """
    _require(isinstance(found, dict), "not a JSON object")
    _require(
        found.keys() - {"participant"} == FIELDS,
        f"the fields have to be {', '.join(sorted(FIELDS))} and, optionally, participant",
    )
    _require(found["test"] == key.test, "the answers belong to another test")
    _require(
        isinstance(found["listener"], str) and re.fullmatch("[0-9a-f]{32}", found["listener"]),
        "listener has to be 32 hexadecimal digits",
    )
    participant = found.get("participant")
    _require(
        participant is None or isinstance(participant, str) and 1 <= len(participant) <= 200,
        "participant has to be null or a text of up to 200 characters",
    )
    _require(
        type(found["plan"]) is int and 0 <= found["plan"] < len(key.plans),
        f"plan has to be from 0 to {len(key.plans) - 1}",
    )
    _require(isinstance(found["headphones"], bool), "headphones has to be true or false")
    seconds = found["seconds"]
    _require(
        type(seconds) in (int, float) and 0 <= seconds < 1e9 and math.isfinite(seconds),
        "seconds has to be a duration",
    )
    plan, answers = key.plans[found["plan"]], found["answers"]
    _require(
        isinstance(answers, list) and len(answers) == len(plan),
        f"answers have to be a list of {len(plan)}",
    )
    for number, (answer, trial) in enumerate(zip(answers, plan, strict=True), 1):
        _check_answer(answer, trial, f"answer {number}")
    return found


def _check_answer(answer: Any, trial: Trial, where: str) -> None:
    _require(isinstance(answer, dict), f"{where} has to be an object")
    _require(answer.keys() == {"answer", "plays"}, f"{where} has to have answer and plays")
    value, plays = answer["answer"], answer["plays"]
    if trial.kind == PREFERENCE:
        _require(value in ("left", "right", "same"), f"{where} has to be left, right or same")
    else:
        _require(type(value) is int and 1 <= value <= 5, f"{where} has to be from 1 to 5")
    clips = len(trial.systems)
    _require(
        isinstance(plays, list)
        and len(plays) == clips
        and all(type(each) is int and 0 <= each < 10_000 for each in plays),
        f"{where}: plays have to be {clips} counts",
    )
    _require(min(plays) >= 1, f"{where}: a clip was not heard to its end")


def _require(condition: Any, reason: str) -> None:
    if not condition:
        raise AnswerError(reason)


def identities(answers: dict) -> list[str]:
    """Texts that identify these answers: other answers that share one of them are duplicates.

    They are the listener's number, the contents, which somebody may send again under another
    number, and the participant's id if there is one.
    """
    contents = json.dumps([answers["plan"], answers["seconds"], answers["answers"]])
    participant = answers.get("participant")
    return [answers["listener"], contents, *([f"participant {participant}"] if participant else [])]


def read_answers(source: Path, key: Key) -> tuple[list[dict], list[tuple[str, str]]]:
    """Read answers from a file (.json, or .jsonl with one listener a line) or a folder of files.

    Returns:
        The valid answers, ordered by the names of their files, and (where, reason) for each file or
        line that was refused.

    Raises:
        RecipeError: the file or folder does not exist.
    """
    if not source.exists():
        raise RecipeError(f"{source} does not exist: set RESULTS to a file or folder of answers")
    accepted, refused = [], []
    seen: dict[str, str] = {}
    for where, text in _texts(source):
        try:
            _require(text is not None, "not a plain file whose name ends in .json or .jsonl")
            _require(len(text) <= MAX_BYTES, f"more than {MAX_BYTES} bytes")
            answers = check(parse(text), key)
            for identity in identities(answers):
                _require(identity not in seen, f"a duplicate of {seen.get(identity)}")
        except AnswerError as error:
            refused.append((where, str(error)))
            continue
        seen |= dict.fromkeys(identities(answers), where)
        accepted.append(answers)
    return accepted, refused


def _texts(source: Path) -> Iterator[tuple[str, bytes | None]]:
    """Yield the place and the contents of each listener's answers.

    At most `MAX_BYTES` + 1 bytes are read, so that the caller can refuse what is longer. The
    contents of links and of files that are not plain are None. Files in a folder are skipped if
    their names have other suffixes or begin with a dot.
    """
    if source.is_dir():
        paths = sorted(path for path in source.glob("[!.]*") if path.suffix.lower() in KINDS)
    else:
        paths = [source]
    for path in paths:
        kind = path.suffix.lower()
        # A link may point anywhere, and reading a pipe may never end.
        if kind not in KINDS or path.is_symlink() or not path.is_file():
            yield path.name, None
            continue
        with path.open("rb") as file:
            if kind == ".json":
                yield path.name, file.read(MAX_BYTES + 1)
                continue
            number = 0
            while line := file.readline(MAX_BYTES + 1):
                number += 1
                yield f"{path.name}, line {number}", line
                while len(line) > MAX_BYTES and not line.endswith(b"\n"):
                    line = file.readline(MAX_BYTES + 1)
