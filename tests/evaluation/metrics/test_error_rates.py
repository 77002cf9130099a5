"""Error counts by hand, over the recipe's texts, and in the committed records."""

import random

import pytest
from conftest import PROJECT

from evaluation.metrics.error_rates import ErrorRates
from pipeline.files import read_csv
from preprocessing.text.english import normalise

RATES = ErrorRates()
ROWS = [
    row
    for path in sorted(PROJECT.glob("recipes/allison/results/paper/runs/*/evaluation/*.csv"))
    for row in read_csv(path)
]
WRITTEN = [
    "On November 22, 1963, at 12:30 p.m., 3 shots were fired [from the Depository].",
    "It cost $1,500, or 25% of the £6,000 that Mr. Smith (a broker) had in 1856.",
    "The U.S. team won 105 medals, 3rd of 24, & 2.5 points more than in '88.",
    "On 25 July 2012 he moved from 708 N 1st St to 12 Main St, 4 1/2 miles away, at -2 °C.",
    "the before-mentioned prisoners' rights: twenty-two, nineteen sixty-three; o'clock",
    "Dr. Jones and Mrs. Brown don't say (one) yes, (two) no, or (three) it's half past ten.",
]
TEXTS = sorted({row["text"] for row in ROWS} | set(WRITTEN))


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors", "words"),
    [
        ("Press one, now!", "press 1 now", 0, 3),
        ("the cat sat", "the bat sat", 1, 3),
        ("the cat sat", "the cat", 1, 3),
        ("the cat", "oh the big fat cat sat down", 2, 2),  # five insertions, capped
        ("The time is exactly...", "The time is exactly.", 0, 4),
        ("press three to rerecord it", "Press 3 to re-record it.", 0, 5),  # hyphens cannot be heard
        ("The pre-pending is done", "the prepending is done", 0, 4),
        ("press three to record it", "Press 3 to re-record it.", 1, 5),
        ("a well-known voice", "a well known voice", 0, 4),
        ("the F.B.I. agent", "The FBI agent.", 0, 3),
        ("Robert A. Frazier", "Robert A Frazier", 0, 3),
        ("a Q&A", "A Q and A.", 0, 4),
        ("It costs five dollars.", "It costs $5", 0, 4),
        ("It costs five dollars.", "It costs five.", 1, 4),
        ("Ten percent of it", "Ten of it", 1, 4),
        ("ten per cent of it", "10% of it", 0, 4),
        ("a super center", "a super center", 0, 3),
        ("Twenty pounds were paid", "Twenty were paid", 1, 4),
        ("minus five degrees", "five degrees", 1, 3),
        ("plus one", "one", 1, 2),
        ("Hmm.", "Oh no", 0, 0),
    ],
)
def test_word_errors(reference, hypothesis, errors, words):
    found = RATES.errors(reference, hypothesis)
    assert (found["word_errors"], found["words"]) == (errors, words)


@pytest.mark.parametrize(
    ("spoken", "transcript"),
    [
        ("November twenty-two, nineteen sixty-three", "November 22, 1963"),
        ("the ninth of May", "the 9th of May"),
        ("on May fifth", "on May 5"),
        ("the twenty-ninth day", "the 29th day."),
        ("at ten thirty", "at 10:30"),
        ("at nine o'clock", "at 9:00"),
        ("one fifty-nine PM", "1:59 p.m."),
        ("at nine in the morning", "at 9:00 in the morning"),
        ("one hundred five people", "105 people"),
        ("one hundred and five people", "105 people"),
        ("a hundred people", "100 people"),
        ("fifteen hundred men", "1,500 men"),
        ("one thousand, five hundred men", "1,500 men"),
        ("a thousand dollars", "$1,000"),
        ("room one oh five", "room 105"),
        ("nineteen oh five", "1905"),
        ("As she [Marina] told me about it", "As she Marina told me about it."),
        ("(one) the rifle, (two) the bag", "One, the rifle, two, the bag."),
    ],
)
def test_numbers_and_brackets_are_compared_as_they_are_spoken(spoken, transcript):
    found = RATES.errors(spoken, transcript)
    assert found["word_errors"] == found["character_errors"] == 0


@pytest.mark.parametrize(
    ("spoken", "transcript", "errors"),
    [
        ("the ninth of May", "the 8th of May", 1),
        ("at ten thirty", "at 10:40", 1),
        ("November twenty-two, nineteen sixty-three", "November 23, 1963", 1),
        ("one hundred five people", "106 people", 2),  # one hundred and six
        ("a hundred people", "200 people", 1),
        ("fifteen hundred men", "1,600 men", 3),  # one thousand six hundred
        ("one hundred five people", "one hundred and five people", 1),
    ],
)
def test_wrong_numbers_are_errors(spoken, transcript, errors):
    assert RATES.errors(spoken, transcript)["word_errors"] == errors


def test_character_errors_and_empty_transcripts():
    assert RATES.errors("cat", "cut")["character_errors"] == 1
    nothing = RATES.errors("the cat", "")
    assert (nothing["word_errors"], nothing["character_errors"]) == (2, 7)


def test_texts_have_no_errors_against_themselves_and_their_spoken_form():
    for text in TEXTS:
        spoken = normalise(text)
        for reference, hypothesis in ((text, text), (text, spoken), (spoken, text)):
            found = RATES.errors(reference, hypothesis)
            assert found["word_errors"] == found["character_errors"] == 0, (reference, hypothesis)


def test_each_changed_word_is_one_error():
    draw = random.Random(0)
    for text in TEXTS:
        words = RATES.normalise(text).split()
        at = draw.randrange(len(words))
        for changed in (["zebra"], [], ["zebra", words[at]]):
            hypothesis = " ".join(words[:at] + changed + words[at + 1 :])
            assert RATES.errors(text, hypothesis)["word_errors"] == 1, (text, hypothesis)


def test_committed_transcripts_are_scored_as_they_were():
    for row in ROWS:
        found = RATES.errors(row["text"], row["transcript"])
        assert found == {name: int(row[name]) for name in found}, row["transcript"]
