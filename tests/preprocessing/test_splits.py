"""Held-out utterances: those of published recipes, and those without a near copy in training."""

from difflib import SequenceMatcher

import pytest
from conftest import changed, section

from pipeline.errors import RecipeError
from preprocessing.corpus.splits import assign_splits
from preprocessing.settings import (
    DistinctSplits,
    FileSplits,
    LastSplits,
    ListedSplits,
    RandomSplits,
)

DISTINCT = section(DistinctSplits, "splits/distinct.yaml", test=3, validation=2, words=[4, 8])
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
    """In order of id, the last 250 are the test set, the 250 before them the validation set."""
    texts = {f"LJ{i // 262:03d}-{i % 262:04d}": "some words" for i in reversed(range(13100))}
    splits = section(LastSplits, "splits/espnet.yaml")
    assigned = assign_splits(texts, splits)
    ids = sorted(texts)
    assert all(assigned[id] == "test" for id in ids[-250:])
    assert all(assigned[id] == "validation" for id in ids[-500:-250])
    assert all(assigned[id] == "train" for id in ids[:12600])


def test_fastspeech_2_holds_out_whole_chapters():
    """LJ001 and LJ002 (523 clips) are the test set, LJ003 (348 clips) the validation set."""
    splits = section(ListedSplits, "splits/fastspeech2.yaml")
    texts = {f"LJ{chapter:03d}-{clip:04d}": "words" for chapter in range(1, 6) for clip in (1, 2)}
    assigned = assign_splits(texts, splits)
    assert [id for id in texts if assigned[id] == "test"] == [id for id in texts if id < "LJ003"]
    assert assigned["LJ003-0002"] == "validation" and assigned["LJ004-0001"] == "train"


def test_exactly_ming024s_list_is_held_out(tmp_path):
    texts = {f"LJ001-{clip:04d}": "words" for clip in range(1, 21)}
    held_out = [f"LJ001-{clip:04d}" for clip in (17, 3, 9, 4)]
    path = tmp_path / "val.txt"
    splits = section(FileSplits, "splits/ming024.yaml", held_out=str(path), test=1)
    with pytest.raises(RecipeError, match="splits=ming024 needs the list .*val.txt"):
        assign_splits(texts, splits)
    path.write_text("".join(f"{id}|LJSpeech|{{HH AY1}}|Hi.\n" for id in held_out))
    assigned = assign_splits(texts, splits)
    assert [id for id in texts if assigned[id] == "test"] == ["LJ001-0004"]
    assert {id for id in texts if assigned[id] == "validation"} == set(held_out[:3])
    path.write_text("LJ001-0001|x\nLJ099-0001|x\n")
    with pytest.raises(RecipeError, match="LJ099-0001: is not in the corpus"):
        assign_splits(texts, splits)


def test_random_splits_have_the_requested_sizes_and_depend_on_the_seed():
    texts = {f"{i:05d}": "words" for i in range(13100)}
    splits = section(RandomSplits, "splits/seed.yaml")
    one, same, other = (assign_splits(texts, changed(splits, seed=seed)) for seed in (0, 0, 1))
    test = {id for id in texts if one[id] == "test"}
    assert list(one.values()).count("validation") == 250 == len(test) and one == same
    shared = len(test & {id for id in texts if other[id] == "test"})
    assert shared < 25, "two draws of 250 out of 13,100 share 5 on average"


def test_distinct_utterances_are_sentences_without_a_near_copy():
    assigned = assign_splits(TEXTS, DISTINCT)
    held_out = {id for id, split in assigned.items() if split != "train"}
    assert len(held_out) == 5
    assert held_out == {"b", "c", "d", "e", "f"}
    words = [TEXTS[id].lower().rstrip(".").split() for id in ("a", "a-copy")]
    assert SequenceMatcher(None, *words).ratio() >= 0.75


def test_removing_an_utterance_keeps_the_others_in_their_sets():
    assigned = assign_splits(TEXTS, changed(DISTINCT, test=1, validation=1))
    gone = next(id for id, split in assigned.items() if split == "train" and id in "bcdef")
    fewer = {id: text for id, text in TEXTS.items() if id != gone}
    again = assign_splits(fewer, changed(DISTINCT, test=1, validation=1))
    assert again == {id: split for id, split in assigned.items() if id != gone}


def test_unusable_utterances_are_not_drawn_and_published_sets_ignore_them():
    fewer = changed(DISTINCT, test=2, validation=2)
    drawn = {id for id, split in assign_splits(TEXTS, fewer).items() if split != "train"}
    unusable = sorted(drawn)[0]
    again = assign_splits(TEXTS, fewer, {unusable})
    assert len([id for id, split in again.items() if split != "train"]) == 4
    assert again[unusable] == "train"
    last = section(LastSplits, "splits/espnet.yaml", test=2, validation=2)
    assert assign_splits(TEXTS, last, {"short"}) == assign_splits(TEXTS, last)


def test_impossible_splits_are_reported():
    with pytest.raises(RecipeError, match="are too few for the requested splits"):
        assign_splits(TEXTS, changed(DISTINCT, test=7))
