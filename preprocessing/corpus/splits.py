"""Splits into training, validation and test: as published recipes have them, or drawn anew."""

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path

from pipeline.errors import FaultsError, RecipeError
from pipeline.files import read_utf8
from preprocessing.settings import (
    DistinctSplits,
    FileSplits,
    LastSplits,
    ListedSplits,
    RandomSplits,
    Splits,
)
from preprocessing.text.english import tokens
from preprocessing.text.phones import PAUSE

Tokens = Callable[[str], list[str]]
SPLITS = ("train", "validation", "test")


def assign_splits(
    texts: Mapping[str, str],
    splits: Splits,
    unusable: Container[str] = (),
    tokens: Tokens = tokens,
) -> dict[str, str]:
    """Assign each utterance to "train", "validation" or "test" in the way `splits.kind` says.

    - `distinct`: draws test, then validation utterances by `seed`. Each has a number of words in
      the range `words`, and its word sequence resembles no other utterance's: difflib's ratio is
      below `highest_similarity`.
    - `last`: the last utterances in order of id are the test set, those before them the validation
      set (ESPnet).
    - `listed`: `test` and `validation` list ids, or the beginnings of ids (FastSpeech 2).
    - `file`: the file `held_out` lists the validation utterances and, in its last `test` lines, the
      test utterances. The id is the part of a line before the first `|` (ming024/FastSpeech2's
      `val.txt`).
    - `random`: draws the test and validation sets by `seed`.

    The drawn sets (`distinct`, `random`) contain only usable utterances. Published sets are
    assigned in full, and the caller leaves out the unusable utterances, so that no other utterance
    moves from one set to another.

    Args:
        texts: the normalised texts of all utterances by id.
        splits: the section `splits` of the configuration.
        unusable: ids that will be left out.
        tokens: splits a normalised text of the corpus's language into tokens.

    Raises:
        RecipeError: there are too few utterances, or the list file is missing, is not UTF-8, or
            names unknown utterances.
    """
    kinds = {
        "distinct": partial(_distinct, tokens=tokens),
        "last": _last,
        "listed": _listed,
        "file": _of_file,
        "random": _random,
    }
    usable = {id: text for id, text in texts.items() if id not in unusable}
    drawn = splits.kind in ("distinct", "random")
    test, validation = kinds[splits.kind](usable if drawn else texts, splits)
    assigned = dict.fromkeys(sorted(texts), "train")
    assigned |= dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    counts = {split: list(assigned.values()).count(split) for split in SPLITS}
    asked = {split: getattr(splits, split, None) for split in SPLITS}
    wanted = {split: count for split, count in asked.items() if isinstance(count, int)}
    if not all(counts.values()) or any(counts[split] < wanted[split] for split in wanted):
        raise RecipeError(
            f"{len(texts)} utterances are too few for the requested splits (found {counts}): hold "
            "out fewer utterances with splits.test and splits.validation, or keep more of the "
            "corpus"
        )
    return assigned


HeldOut = tuple[list[str], list[str]]
"""The ids of the test utterances and of the validation utterances."""


def _last(texts: Mapping[str, str], splits: LastSplits) -> HeldOut:
    held_out = sorted(texts)[-splits.test - splits.validation :]
    return held_out[splits.validation :], held_out[: splits.validation]


def _listed(texts: Mapping[str, str], splits: ListedSplits) -> HeldOut:
    test, validation = (
        [id for id in texts if id.startswith(tuple(beginnings))]
        for beginnings in (splits.test, splits.validation)
    )
    return test, validation


def _of_file(texts: Mapping[str, str], splits: FileSplits) -> HeldOut:
    path = Path(splits.held_out)
    if not path.exists():
        raise RecipeError(f"splits={splits.name} needs the list {path}, which does not exist")
    ids = [line.split("|")[0].strip() for line in read_utf8(path).splitlines()]
    ids = [id for id in ids if id]
    if unknown := sorted(set(ids) - texts.keys()):
        raise FaultsError(
            f"reading {path}",
            [(id, "is not in the corpus") for id in unknown],
            "List ids of metadata.csv, one per line.",
        )
    return ids[len(ids) - splits.test :], ids[: len(ids) - splits.test]


def _random(texts: Mapping[str, str], splits: RandomSplits) -> HeldOut:
    drawn = _shuffled(texts, splits.seed)
    return drawn[: splits.test], drawn[splits.test : splits.test + splits.validation]


def _shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Shuffle ids by a digest of each, so that adding or removing one keeps the others' order."""
    return sorted(ids, key=lambda id: hashlib.sha256(f"{seed} {id}".encode()).digest())


def _distinct(texts: Mapping[str, str], splits: DistinctSplits, tokens: Tokens) -> HeldOut:
    words = {id: [t for t in tokens(texts[id]) if t != PAUSE] for id in sorted(texts)}
    shortest, longest = splits.words
    # Single letters do not count as words, since an utterance that spells something is no sentence.
    counts = {id: sum(len(word) > 1 for word in words[id]) for id in words}
    candidates = [id for id in words if shortest <= counts[id] <= longest]
    wanted = splits.test + splits.validation
    drawn: list[str] = []
    for candidate in _shuffled(candidates, splits.seed):
        others = (words[id] for id in words if id != candidate)
        if not any(
            _similar(words[candidate], other, splits.highest_similarity) for other in others
        ):
            drawn.append(candidate)
        if len(drawn) == wanted:
            break
    return drawn[: splits.test], drawn[splits.test :]


def _similar(a: list[str], b: list[str], threshold: float) -> bool:
    """Tell whether difflib's ratio of two word sequences reaches the threshold."""
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    # The first two ratios are upper bounds of the third. They settle most pairs at little cost.
    return (
        matcher.real_quick_ratio() >= threshold
        and matcher.quick_ratio() >= threshold
        and matcher.ratio() >= threshold
    )
