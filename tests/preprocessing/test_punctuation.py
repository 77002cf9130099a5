"""Punctuation and silences as symbols, as ESPnet's recipe with MFA has them."""

import pytest

from preprocessing.alignment.edges import with_punctuation
from preprocessing.alignment.textgrid import Alignment, Interval
from preprocessing.text.pronouncer import Pronouncer
from preprocessing.text.punctuation import marks_around


@pytest.mark.parametrize(
    "words, text, expected",
    [
        (["hello", "world"], "Hello, world.", [[], [","], ["."]]),
        (["he", "said", "no"], 'He said: "No!"', [[], [], [":", '"'], ["!", '"']]),
        (["i'm", "re-done"], "\"I'm re-done", [['"'], [], []]),
        (["two"], "2?", [[], ["?"]]),  # not found by its letters, but the end is known
        (["a", "pbx", "b"], "A, switchboard, b.", [[], [","], [], ["."]]),
    ],
)
def test_marks_stand_after_the_words_that_they_follow(words, text, expected):
    assert marks_around(words, text) == expected


def intervals(*rows: tuple) -> list[Interval]:
    return [Interval(*row) for row in rows]


def test_pauses_become_marks_or_silence_and_the_ends_are_kept():
    phones = intervals(
        *((0.2, 0.3, "HH"), (0.3, 0.4, "sp"), (0.4, 0.5, "L"), (0.5, 0.7, "sp"), (0.7, 0.8, "W")),
        *((0.8, 1.0, "sp"), (1.0, 1.1, "D")),
    )
    words = intervals((0.2, 0.5, "hello"), (0.7, 0.8, "world"), (1.0, 1.1, "now"))
    found = with_punctuation(Alignment(phones, words), 'Hello," world now?', 1.5).phones
    assert [phone.label for phone in found] == [
        *("sil", "HH", "sil", "L", ",", '"', "W", "sil", "D", "?"),
    ]  # the pause inside a word has no mark
    ends = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.1, 1.5]
    assert [phone.end for phone in found] == pytest.approx(ends)
    assert [phone.start for phone in found] == pytest.approx([0.0, *ends[:-1]])


def test_without_words_pauses_are_silences():
    found = with_punctuation(Alignment(intervals((0.0, 1.0, "AH0")), []), "Ah!", 1.2).phones
    assert [phone.label for phone in found] == ["AH0", "sil"]


def test_a_model_that_knows_punctuation_is_given_it():
    phones = "HH AH0 L OW1 W ER1 D".split()
    spoken = Pronouncer(symbols=[*phones, ",", "?"]).phones('"Hello", world; hello?')
    assert spoken == [*phones[:4], ",", "W", "ER1", "L", "D", *phones[:4], "?"]
    spoken = Pronouncer(symbols=[*phones, ",", "sil"]).phones("Hello world?")
    assert spoken == ["sil", *phones[:4], "W", "ER1", "L", "D", "sil"]
