"""Held-out utterances: as published recipes choose them, and with no near copy in training."""

from difflib import SequenceMatcher

import pytest
from conftest import PROJECT
from omegaconf import OmegaConf

from preprocessing.errors import RecipeError
from preprocessing.splits import assign_splits

DISTINCT = OmegaConf.create(
    {
        "kind": "distinct",
        "test": 3,
        "validation": 2,
        "words": [4, 8],
        "highest_similarity": 0.75,
        "seed": 0,
    }
)
TEXTS = {
    "a": "Please hold the line for now.",
    "a-copy": "Please hold the line for me now.",
    "b": "Nobody is available to help you.",
    "c": "Your message has been deleted, madam.",
    "d": "The weather was kind to everyone there.",
    "e": "Seven brown foxes ran across fields.",
    "f": "Music played until early next morning.",
    "short": "Hello there.",
    "letters": "M I S D N X Y",
}


def test_espnets_split_of_ljspeech():
    """In order of id the last 250 are the test set and the 250 before them validation."""
    texts = {f"LJ{i // 262:03d}-{i % 262:04d}": "some words" for i in reversed(range(13100))}
    splits = OmegaConf.load(PROJECT / "conf" / "corpus" / "ljspeech.yaml").splits
    assigned = assign_splits(texts, splits)
    ids = sorted(texts)
    assert all(assigned[id] == "test" for id in ids[-250:])
    assert all(assigned[id] == "validation" for id in ids[-500:-250])
    assert all(assigned[id] == "train" for id in ids[:12600])


def test_splits_listed_by_the_beginnings_of_ids():
    """FastSpeech 2's: chapters LJ001 and LJ002 are the test set, LJ003 validation."""
    splits = OmegaConf.create(
        {"kind": "listed", "test": ["LJ001", "LJ002"], "validation": ["LJ003"]}
    )
    texts = {f"LJ{chapter:03d}-{clip:04d}": "words" for chapter in range(1, 6) for clip in (1, 2)}
    assigned = assign_splits(texts, splits)
    assert [id for id in texts if assigned[id] == "test"] == [id for id in texts if id < "LJ003"]
    assert assigned["LJ003-0002"] == "validation" and assigned["LJ004-0001"] == "train"


def test_distinct_utterances_have_no_near_copy_and_are_sentences():
    assigned = assign_splits(TEXTS, DISTINCT)
    held_out = {id for id, split in assigned.items() if split != "train"}
    assert len(held_out) == 5
    assert held_out == {"b", "c", "d", "e", "f"}
    words = [TEXTS[id].lower().rstrip(".").split() for id in ("a", "a-copy")]
    assert SequenceMatcher(None, *words).ratio() >= 0.75


def test_an_utterance_less_leaves_the_others_where_they_were():
    assigned = assign_splits(TEXTS, OmegaConf.merge(DISTINCT, {"test": 1, "validation": 1}))
    gone = next(id for id, split in assigned.items() if split == "train" and id in "bcdef")
    fewer = {id: text for id, text in TEXTS.items() if id != gone}
    again = assign_splits(fewer, OmegaConf.merge(DISTINCT, {"test": 1, "validation": 1}))
    assert again == {id: split for id, split in assigned.items() if id != gone}


def test_splits_that_cannot_be_made_are_told():
    with pytest.raises(RecipeError, match="do not give the splits that corpus.splits asks for"):
        assign_splits(TEXTS, OmegaConf.merge(DISTINCT, {"test": 7}))
    with pytest.raises(RecipeError, match="choose distinct, last or listed"):
        assign_splits(TEXTS, OmegaConf.create({"kind": "random"}))
