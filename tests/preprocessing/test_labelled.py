"""Sentences of LJSpeech with numbers, titles and abbreviations, labelled by hand.

`tests/data/ljspeech_spoken.csv` holds 200 sentences that were drawn at random from those that have
a digit, a capital abbreviation, a title or a symbol. They were labelled before any rule was tried
on them. In a label, `[one|two]` are two readings of which both are right. LJSpeech's texts are in
the public domain.
"""

import itertools
import re

from conftest import PROJECT

from pipeline.files import read_csv
from preprocessing.text.english import normalise, tokens


def readings(label: str) -> set[str]:
    """All readings of a label, as `compared` writes them."""
    parts = [part.split("|") for part in re.split(r"\[(.*?)\]", label)]
    return {compared("".join(chosen).split()) for chosen in itertools.product(*parts)}


def compared(words: list[str]) -> str:
    """The letters of words, without "and" and "the", which readers add and leave out."""
    text = " ".join(words).replace("-", " ").replace("{EY1}", "a").lower()
    words = re.sub(r"[^\w\s]", "", text).split()
    return "".join(word for word in words if word not in ("and", "the", "sp"))


def test_sentences_of_ljspeech_are_spoken_as_they_were_labelled():
    rows = read_csv(PROJECT / "tests" / "data" / "ljspeech_spoken.csv")
    wrong = [
        (row["id"], row["written"])
        for row in rows
        if compared(tokens(normalise(row["written"]))) not in readings(row["spoken"])
    ]
    assert len(rows) == 200
    assert len(wrong) <= 6, wrong
