"""Who hears what, in which order and on which side.

A plan is what one listener hears. Plans come in pairs of the same trials with all sides swapped,
and the systems rotate over the sentences from one pair to the next, so that over all plans every
pair of systems and every rating comes with every sentence equally often and on each side equally
often. (In the test of SNIPER's published code dense always came first and SNIPER last.)
"""

import math
from dataclasses import dataclass
from itertools import combinations
from random import Random

LEAST_PLANS = 48
ONE_CHECK_IN = 10
"""So many items of each kind come with one whose answer is known, at least one in all."""
PREFERENCE, RATING = "preference", "rating"
CLEAN, CORRUPTED = "clean", "corrupted"
"""The systems of a trial that checks attention."""


@dataclass(frozen=True)
class Trial:
    """Two clips of a preference, left first, or one to be rated."""

    kind: str
    sentence: str
    systems: tuple[str, ...]

    @property
    def is_check(self) -> bool:
        return CORRUPTED in self.systems

    def passed(self, answer: str | int) -> bool:
        """Whether a check's answer shows attention: the clean side, or a rating of at most 2."""
        if self.kind == RATING:
            return int(answer) <= 2
        return answer == ("left" if self.systems[0] == CLEAN else "right")

    def swapped(self) -> "Trial":
        return Trial(self.kind, self.sentence, self.systems[::-1])


Plan = list[Trial]


def make_plans(systems: list[str], sentences: list[str], seed: int) -> list[Plan]:
    """Plans for at least `LEAST_PLANS` listeners; the same arguments give the same plans."""
    pairs = list(combinations(systems, 2))
    rotations = math.lcm(len(pairs), len(systems))
    rotations *= math.ceil(LEAST_PLANS / 2 / rotations)
    plans = []
    for rotation in range(rotations):
        # Strings seed Random alike in every process.
        random = Random(f"{seed}/{rotation}")
        preferences = _preferences(pairs, sentences, rotation, random)
        ratings = [
            Trial(RATING, sentence, (system,))
            for sentence, system in zip(
                sentences, _dealt(systems, len(sentences), rotation), strict=True
            )
        ]
        checks = max(1, len(sentences) // ONE_CHECK_IN)
        checked = random.sample(sentences, min(len(sentences), 2 * checks))
        for number, sentence in enumerate(checked[:checks]):
            pair = (CLEAN, CORRUPTED) if (number + rotation) % 2 else (CORRUPTED, CLEAN)
            preferences.append(Trial(PREFERENCE, sentence, pair))
        ratings += [Trial(RATING, sentence, (CORRUPTED,)) for sentence in checked[checks:]]
        blocks = [random.sample(block, len(block)) for block in (preferences, ratings)]
        random.shuffle(blocks)
        plan = [trial for block in blocks for trial in block]
        plans += [plan, _mirrored(plan, random)]
    return plans


def _dealt(cards: list, hands: int, rotation: int) -> list:
    """`hands` cards in turn, going on where the rotation before stopped.

    Whenever that comes round to its first card again it moves on by one, so that over as many
    rotations as there are cards each hand gets each card once.
    """
    period = len(cards) // math.gcd(len(cards), hands)
    first = rotation * hands + rotation // period
    return [cards[(first + hand) % len(cards)] for hand in range(hands)]


def _preferences(
    pairs: list[tuple[str, str]], sentences: list[str], rotation: int, random: Random
) -> list[Trial]:
    """A pair for each sentence; sides alternate over each pair's sentences in random order."""
    trials = [
        Trial(PREFERENCE, sentence, pair)
        for sentence, pair in zip(sentences, _dealt(pairs, len(sentences), rotation), strict=True)
    ]
    random.shuffle(trials)
    trials.sort(key=lambda trial: pairs.index(trial.systems))
    start = random.randrange(2)
    return [
        trial.swapped() if (number + start) % 2 else trial for number, trial in enumerate(trials)
    ]


def _mirrored(plan: Plan, random: Random) -> Plan:
    """The same trials with sides swapped, each block in an order of its own."""
    blocks: dict[str, list[Trial]] = {}
    for trial in plan:
        blocks.setdefault(trial.kind, []).append(trial.swapped())
    return [trial for block in blocks.values() for trial in random.sample(block, len(block))]
