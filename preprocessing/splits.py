"""Which utterances are held out, as published recipes do it or so that they are not near copies."""

import hashlib
from collections.abc import Mapping
from difflib import SequenceMatcher

from omegaconf import DictConfig

from preprocessing.errors import RecipeError
from preprocessing.text import PAUSE, tokens

SPLITS = ("train", "validation", "test")


def assign_splits(texts: Mapping[str, str], splits: DictConfig) -> dict[str, str]:
    """ "train", "validation" or "test" for each utterance, by `splits.kind`.

    - `distinct`: test, then validation utterances of `words` words whose word sequence resembles
      no other utterance's (difflib's ratio below `highest_similarity`), drawn by `seed`.
    - `last`: in order of id the last are the test set, those before them validation (ESPnet).
    - `listed`: `test` and `validation` are lists of ids, or of their beginnings.

    Raises:
        RecipeError: too few utterances, or an unknown kind.
    """
    ids = sorted(texts)
    if splits.kind == "distinct":
        ordered = _distinct(texts, splits)
        held_out = ordered[: splits.test + splits.validation]
        test, validation = held_out[: splits.test], held_out[splits.test :]
    elif splits.kind == "last":
        held_out = ids[-splits.test - splits.validation :]
        validation, test = held_out[: splits.validation], held_out[splits.validation :]
    elif splits.kind == "listed":
        test = [id for id in ids if id.startswith(tuple(splits.test))]
        validation = [id for id in ids if id.startswith(tuple(splits.validation))]
    else:
        raise RecipeError(f"corpus.splits.kind={splits.kind}: choose distinct, last or listed")
    assigned = dict.fromkeys(ids, "train")
    assigned |= dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    counts = {split: list(assigned.values()).count(split) for split in SPLITS}
    if (
        splits.kind != "listed"
        and (counts["test"] < splits.test or counts["validation"] < splits.validation)
        or not all(counts.values())
    ):
        raise RecipeError(
            f"{len(ids)} utterances do not give the splits that corpus.splits asks for (found "
            f"{counts}): ask for fewer held-out utterances or keep more of the corpus"
        )
    return assigned


def _distinct(texts: Mapping[str, str], splits: DictConfig) -> list[str]:
    words = {id: [t for t in tokens(texts[id]) if t != PAUSE] for id in sorted(texts)}
    shortest, longest = splits.words
    # Letters do not count: an utterance that spells something is no sentence to understand.
    counts = {id: sum(len(word) > 1 for word in words[id]) for id in words}
    candidates = [id for id in words if shortest <= counts[id] <= longest]
    # Drawn by a digest, so that an utterance more or less in the corpus leaves the others' lot.
    candidates.sort(key=lambda id: hashlib.sha256(f"{splits.seed} {id}".encode()).digest())
    wanted = splits.test + splits.validation
    chosen: list[str] = []
    for candidate in candidates:
        others = (words[id] for id in words if id != candidate)
        if not any(
            _similar(words[candidate], other, splits.highest_similarity) for other in others
        ):
            chosen.append(candidate)
        if len(chosen) == wanted:
            break
    return chosen


def _similar(a: list[str], b: list[str], threshold: float) -> bool:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    # The two upper bounds settle most pairs at a fraction of the cost.
    return (
        matcher.real_quick_ratio() >= threshold
        and matcher.quick_ratio() >= threshold
        and matcher.ratio() >= threshold
    )
