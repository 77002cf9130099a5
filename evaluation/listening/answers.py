"""The format of answers, its validation, and reading files of answers from any source.

The answers of one listener are a JSON object:

    {"test": "<id>", "listener": "<32 hexadecimal digits>", "participant": "<id or null>",
     "plan": 7, "headphones": true, "seconds": 412.5,
     "answers": [{"answer": "left", "plays": [1, 2]}, {"answer": 4, "plays": [1]}],
     "consent": true, "questionnaire": {"age": "30 to 39"}}

It has one answer for each trial of the plan, in order: `left`, `right` or `same` for a preference,
1 to 5 for a rating, the places `{"best": 0, "worst": 2}` for best and worst, and a list of scores
from 0 to 100 for MUSHRA. `plays` counts how often each clip was heard to its end. `participant` is
the id that a crowdsourcing platform put into the page's address. It may be absent, and so may
`consent` and `questionnaire` if the test asks for neither.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from evaluation.listening.design import BEST_WORST, MUSHRA, PREFERENCE, RATING, Plan, Trial
from pipeline.errors import RecipeError

MAX_BYTES = 200_000
"""Size limit for the answers of one listener."""
KINDS = (".json", ".jsonl")


class AnswerError(RecipeError):
    """The reason why answers are refused."""


@dataclass(frozen=True)
class Question:
    """A question of `listening.questionnaire`, answered by one of `choices` or, without, a text."""

    name: str
    question: str
    choices: list[str] = field(default_factory=list)
    optional: bool = False

    def require_answer(self, answer: str) -> None:
        """Raise ValueError if this is no answer."""
        if not answer.strip():
            if not self.optional:
                raise ValueError(f"questionnaire: {self.name} has no answer")
        elif self.choices and answer not in self.choices:
            raise ValueError(f"questionnaire: {self.name} is one of {', '.join(self.choices)}")


@dataclass(frozen=True)
class Key:
    """The contents of key.json.

    Attributes:
        test: its id.
        labels: of each run.
        plans: of the listeners.
        consent: whether listeners have to consent to a text.
        questionnaire: what they are asked beside the trials.
    """

    test: str
    labels: dict[str, str]
    plans: list[Plan]
    consent: bool = False
    questionnaire: list[Question] = field(default_factory=list)


def read_key(folder: Path) -> Key:
    """Read the key of the test in this folder.

    Raises:
        RecipeError: the folder holds no test.
    """
    path = folder / "key.json"
    if not path.exists():
        raise RecipeError(f"{path} does not exist: run `make listening-test` first")
    return TypeAdapter(Key).validate_json(path.read_bytes())


def parse(text: bytes | str) -> Any:
    """Parse JSON without repeated names, which Python's parser allows.

    Raises:
        AnswerError: the text is not such JSON.
    """

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name is repeated")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise AnswerError(f"not JSON: {error}") from None


class TrialAnswer(BaseModel):
    """The answer to one trial, and how often each of its clips was heard to its end."""

    model_config = ConfigDict(extra="forbid", strict=True)
    answer: Any
    plays: list[Annotated[int, Field(ge=1, lt=10_000)]]

    def require_fit(self, trial: Trial) -> None:
        """Raise ValueError if this does not answer `trial`."""
        value = VALUES[trial.kind].validate_python(self.answer)
        if trial.kind == MUSHRA and len(value) != len(trial.systems):
            raise ValueError(f"answer has to have {len(trial.systems)} scores")
        if len(self.plays) != len(trial.clips):
            raise ValueError(f"plays has to have {len(trial.clips)} counts")


class Answers(BaseModel):
    """All answers of one listener. The key of the test is the context of their validation."""

    model_config = ConfigDict(extra="forbid", strict=True)
    test: str
    listener: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    participant: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    plan: Annotated[int, Field(ge=0)]
    headphones: bool
    seconds: Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)]
    answers: list[TrialAnswer]
    consent: bool = False
    questionnaire: dict[str, Annotated[str, Field(max_length=1000)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fit_the_test(self, info: ValidationInfo) -> Self:
        key: Key = info.context
        if self.test != key.test:
            raise ValueError("the answers belong to another test")
        if self.plan >= len(key.plans):
            raise ValueError(f"plan has to be below {len(key.plans)}")
        plan = key.plans[self.plan]
        if len(self.answers) != len(plan):
            raise ValueError(f"answers has to have {len(plan)} items")
        for number, (answer, trial) in enumerate(zip(self.answers, plan, strict=True), 1):
            try:
                answer.require_fit(trial)
            except ValueError as error:
                raise ValueError(f"answer {number}: {reason(error)}") from None
        if self.consent != key.consent:
            raise ValueError(f"consent has to be {str(key.consent).lower()}")
        if self.questionnaire.keys() != {each.name for each in key.questionnaire}:
            raise ValueError("questionnaire has to answer the questions of the test")
        for each in key.questionnaire:
            each.require_answer(self.questionnaire[each.name])
        return self


class BestWorst(BaseModel):
    """The places of the most and the least natural of three clips."""

    model_config = ConfigDict(extra="forbid", strict=True)
    best: Annotated[int, Field(ge=0, le=2)]
    worst: Annotated[int, Field(ge=0, le=2)]

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.best == self.worst:
            raise ValueError("best and worst have to differ")
        return self


VALUES = {
    PREFERENCE: TypeAdapter(Literal["left", "right", "same"]),
    RATING: TypeAdapter(Annotated[int, Field(strict=True, ge=1, le=5)]),
    BEST_WORST: TypeAdapter(BestWorst),
    MUSHRA: TypeAdapter(list[Annotated[int, Field(strict=True, ge=0, le=100)]]),
}
"""What may answer a trial of each kind."""


def reason(error: ValueError) -> str:
    """Describe the first fault that pydantic found, or return the error's own message."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def check(found: Any, key: Key) -> dict:
    """Return the parsed answers if they are complete and belong to this test.

    Raises:
        AnswerError: describes the first fault.
    """
    try:
        Answers.model_validate(found, context=key)
    except ValidationError as error:
        raise AnswerError(reason(error)) from None
    return found


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
            if text is None:
                raise AnswerError("not a plain file whose name ends in .json or .jsonl")
            if len(text) > MAX_BYTES:
                raise AnswerError(f"more than {MAX_BYTES} bytes")
            answers = check(parse(text), key)
            if first := next(filter(None, map(seen.get, identities(answers))), None):
                raise AnswerError(f"a duplicate of {first}")
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
