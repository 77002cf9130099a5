"""Validation of answers from unknown sources."""

import json

import pytest
from listening_cases import BAD, GOOD, KEY, Listener, changed, make_key, with_answer

from evaluation.listening.answers import (
    MAX_BYTES,
    AnswerError,
    Question,
    check,
    parse,
    read_answers,
)
from pipeline.errors import RecipeError


def test_valid_answers_pass():
    assert check(parse(json.dumps(GOOD)), KEY) == GOOD


@pytest.mark.parametrize(("body", "reason"), BAD)
def test_invalid_answers_are_refused_with_the_reason(body, reason):
    with pytest.raises(AnswerError, match=reason):
        check(parse(body), KEY)


def test_answers_to_a_clip_that_was_not_heard_are_refused():
    clips = len(KEY.plans[0][0].systems)
    with pytest.raises(AnswerError, match="answers.0.plays.0: .* greater than or equal to 1"):
        check(with_answer(plays=[0] * clips), KEY)


def test_a_folder_gives_the_valid_answers_and_the_reasons_against_the_others(tmp_path):
    other = Listener(1, "sniper", 0.7).answers(KEY, 1)
    renamed = changed(listener="0" * 32)
    for name, content in {
        "a.json": json.dumps(GOOD),
        "b.json": json.dumps(GOOD),
        "c.json": json.dumps(renamed),
        "d.json": " " * (MAX_BYTES + 1),
        "e.jsonl": f'{json.dumps(other)}\n{"x" * (3 * MAX_BYTES)}\n{{"cut sho',
        "notes.txt": "not answers",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    accepted, refused = read_answers(tmp_path, KEY)
    assert accepted == [GOOD, other]
    assert [where for where, _ in refused] == [
        "b.json",
        "c.json",
        "d.json",
        "e.jsonl, line 2",
        "e.jsonl, line 3",
        "link.json",
    ]
    reasons = [reason for _, reason in refused]
    assert reasons[:2] == ["a duplicate of a.json"] * 2
    assert reasons[2] == reasons[3] == f"more than {MAX_BYTES} bytes"
    assert reasons[4].startswith("not JSON")
    plain = "not a plain file whose name ends in .json or .jsonl"
    assert reasons[5] == plain
    assert read_answers(tmp_path / "notes.txt", KEY) == ([], [("notes.txt", plain)])
    with pytest.raises(RecipeError, match="set RESULTS to a file or folder"):
        read_answers(tmp_path / "nothing", KEY)


FORM = {
    "consent": True,
    "questionnaire": [
        Question("age", "How old are you?", ["below 40", "40 or more"]),
        Question("remarks", "Anything else?", optional=True),
    ],
}
FULL = make_key(["a", "b", "c"], kinds=["best_worst", "mushra"], **FORM)
FILLED = {"consent": True, "questionnaire": {"age": "below 40", "remarks": ""}}


def full(answer=None, kind=None, **fields) -> dict:
    """Valid answers to a test of all that is optional, with these fields and one answer changed."""
    answers = Listener(0, "a", 0.7, ranking="abc").answers(FULL, 0) | FILLED | fields
    if kind:
        places = [i for i, trial in enumerate(FULL.plans[0]) if trial.kind == kind]
        answers["answers"][places[0]]["answer"] = answer
    return answers


def test_valid_answers_to_all_that_is_optional_pass():
    assert check(full(), FULL) == full()


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (full({"best": 0, "worst": 0}, "best_worst"), "best and worst have to differ"),
        (full({"best": 0, "worst": 3}, "best_worst"), "worst: .* less than or equal to 2"),
        (full({"best": 0}, "best_worst"), "worst: Field required"),
        (full("left", "best_worst"), "valid dictionary"),
        (full([1] * 5, "mushra"), "answer has to have 6 scores"),
        (full([101] + [1] * 5, "mushra"), "less than or equal to 100"),
        (full([True] + [1] * 5, "mushra"), "valid integer"),
        (full([None] + [1] * 5, "mushra"), "valid integer"),
        (full(consent=False), "consent has to be true"),
        (full(questionnaire={}), "questionnaire has to answer the questions"),
        (full(questionnaire={"age": "old", "remarks": ""}), "age is one of below 40, 40 or more"),
        (full(questionnaire={"age": " ", "remarks": ""}), "age has no answer"),
        (full(questionnaire={"age": "below 40", "remarks": "x" * 1001}), "at most 1000"),
        (full(questionnaire={"age": "below 40", "remarks": 3}), "valid string"),
    ],
)
def test_invalid_answers_to_all_that_is_optional_are_refused(answers, reason):
    with pytest.raises(AnswerError, match=reason):
        check(answers, FULL)
    with pytest.raises(AnswerError, match="consent has to be false|questionnaire has to"):
        check(GOOD | FILLED, KEY)
