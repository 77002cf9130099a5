"""Worked examples, with which listeners learn what is asked before the first trial."""

from collections.abc import Sequence

from evaluation.listening.design import (
    BEST_WORST,
    CLEAN,
    CORRUPTED,
    KINDS,
    LOW_ANCHOR,
    MIDDLE_ANCHOR,
    MUSHRA,
    PREFERENCE,
    RATING,
    REFERENCE,
    Trial,
)

MUFFLED = "muffled"
Example = tuple[Trial, str]
"""A trial, and its answer with the reason."""
EXAMPLES = {
    PREFERENCE: (
        ((CLEAN, CORRUPTED), "B has loud noise. The answer is: A sounds more natural."),
        ((CORRUPTED, CLEAN), "Here A has the noise. The answer is: B sounds more natural."),
    ),
    RATING: (
        ((CORRUPTED,), "Loud noise covers the voice. The answer is: 1 – Bad."),
        (
            (CLEAN,),
            "The noise is gone, so this deserves more. Judge how close the voice is to a person’s, "
            "from 5 – Excellent to 1 – Bad.",
        ),
    ),
    BEST_WORST: (
        (
            (MUFFLED, CLEAN, CORRUPTED),
            "A is muffled, B is clear, C has loud noise. The answer is: B is the most natural, C "
            "the least.",
        ),
        (
            (CORRUPTED, MUFFLED, CLEAN),
            "A has the noise, and C is clear. The answer is: C is the most natural, A the least.",
        ),
    ),
    MUSHRA: (
        (
            (LOW_ANCHOR, REFERENCE),
            "B is the reference itself and gets 100. A is muffled and gets less, such as 20.",
        ),
        (
            (REFERENCE, MIDDLE_ANCHOR),
            "A is the reference itself and gets 100. B lacks the highest tones. It gets less, such "
            "as 70.",
        ),
    ),
}


def worked_examples(kinds: Sequence[str], sentence: str) -> list[Example]:
    """Both examples of a single kind, or the first example of each of several kinds."""
    kinds = [kind for kind in KINDS if kind in kinds]
    chosen = [(kind, each) for kind in kinds for each in EXAMPLES[kind][: 1 + (len(kinds) == 1)]]
    return [(Trial(kind, sentence, systems), text) for kind, (systems, text) in chosen]
