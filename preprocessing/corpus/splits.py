"""Which utterances are held out, as published recipes do it or so that they are not near copies."""

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from pipeline.errors import FaultsError, RecipeError
from pipeline.files import read_utf8
from pipeline.settings import chosen
from preprocessing.text.english import tokens
from preprocessing.text.phones import PAUSE

Tokens = Callable[[str], list[str]]
SPLITS = ("train", "validation", "test")


def assign_splits(
    texts: Mapping[str, str],
    splits: DictConfig,
    unusable: Container[str] = (),
    tokens: Tokens = tokens,
) -> dict[str, str]:
    """ "train", "validation" or "test" for each utterance, by `splits.kind`.

    - `distinct`: test, then validation utterances of `words` words whose word sequence resembles
      no other utterance's (difflib's ratio below `highest_similarity`), drawn by `seed`.
    - `last`: in order of id the last are the test set, those before them validation (ESPnet).
    - `listed`: `test` and `validation` are lists of ids, or of their beginnings (FastSpeech 2).
    - `file`: the file `held_out` lists validation and, the last `test` of them, test utterances, an
      id up to the first `|` in each line (ming024/FastSpeech2's `val.txt`).
    - `random`: drawn by `seed`.

    Drawn sets (`distinct`, `random`) have only usable utterances; of published ones the unusable
    are to be left out, which moves no other utterance from one set to another.

    Args:
        texts: normalised, of all utterances.
        splits: the configuration.
        unusable: ids that will be left out.
        tokens: of the corpus's language.

    Raises:
        RecipeError: too few utterances, an unknown kind, or a list file that is missing, not
            UTF-8, or names utterances that are not there.
    """
    kinds = {
        "distinct": partial(_distinct, tokens=tokens),
        "last": _last,
        "listed": _listed,
        "file": _of_file,
        "random": _random,
    }
    choose = chosen("splits.kind", splits.kind, kinds)
    usable = {id: text for id, text in texts.items() if id not in unusable}
    drawn = splits.kind in ("distinct", "random")
    test, validation = choose(usable if drawn else texts, splits)
    assigned = dict.fromkeys(sorted(texts), "train")
    assigned |= dict.fromkeys(validation, "validation") | dict.fromkeys(test, "test")
    counts = {split: list(assigned.values()).count(split) for split in SPLITS}
    wanted = {split: splits.get(split) for split in SPLITS if isinstance(splits.get(split), int)}
    if not all(counts.values()) or any(counts[split] < wanted[split] for split in wanted):
        raise RecipeError(
            f"{len(texts)} utterances do not give the splits that are asked for (found {counts}): "
            "ask for fewer held-out utterances with splits.test and splits.validation, or keep "
            "more of the corpus"
        )
    return assigned


Held = tuple[list[str], list[str]]
"""ids of test and of validation utterances"""


def _last(texts: Mapping[str, str], splits: DictConfig) -> Held:
    held_out = sorted(texts)[-splits.test - splits.validation :]
    return held_out[splits.validation :], held_out[: splits.validation]


def _listed(texts: Mapping[str, str], splits: DictConfig) -> Held:
    test, validation = (
        [id for id in texts if id.startswith(tuple(beginnings))]
        for beginnings in (splits.test, splits.validation)
    )
    return test, validation


def _of_file(texts: Mapping[str, str], splits: DictConfig) -> Held:
    path = Path(splits.held_out)
    if not path.exists():
        raise RecipeError(f"splits={splits.name} needs the list {path}, which is not there")
    ids = [line.split("|")[0].strip() for line in read_utf8(path).splitlines()]
    ids = [id for id in ids if id]
    if unknown := sorted(set(ids) - texts.keys()):
        raise FaultsError(
            f"reading {path}",
            [(id, "is not in the corpus") for id in unknown],
            "List ids of metadata.csv, one a line.",
        )
    return ids[len(ids) - splits.test :], ids[: len(ids) - splits.test]


def _random(texts: Mapping[str, str], splits: DictConfig) -> Held:
    drawn = _shuffled(texts, splits.seed)
    return drawn[: splits.test], drawn[splits.test : splits.test + splits.validation]


def _shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """By a digest, so that an utterance more or less in the corpus leaves the others' lot."""
    return sorted(ids, key=lambda id: hashlib.sha256(f"{seed} {id}".encode()).digest())


def _distinct(texts: Mapping[str, str], splits: DictConfig, tokens: Tokens) -> Held:
    words = {id: [t for t in tokens(texts[id]) if t != PAUSE] for id in sorted(texts)}
    if len(splits.words) != 2 or not all(isinstance(words, int) for words in splits.words):
        raise RecipeError(f"splits.words={splits.words}: give the fewest and the most, as [5,15]")
    shortest, longest = splits.words
    # Letters do not count: an utterance that spells something is no sentence to understand.
    counts = {id: sum(len(word) > 1 for word in words[id]) for id in words}
    candidates = [id for id in words if shortest <= counts[id] <= longest]
    wanted = splits.test + splits.validation
    chosen: list[str] = []
    for candidate in _shuffled(candidates, splits.seed):
        others = (words[id] for id in words if id != candidate)
        if not any(
            _similar(words[candidate], other, splits.highest_similarity) for other in others
        ):
            chosen.append(candidate)
        if len(chosen) == wanted:
            break
    return chosen[: splits.test], chosen[splits.test :]


def _similar(a: list[str], b: list[str], threshold: float) -> bool:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    # The two upper bounds settle most pairs at a fraction of the cost.
    return (
        matcher.real_quick_ratio() >= threshold
        and matcher.quick_ratio() >= threshold
        and matcher.ratio() >= threshold
    )
