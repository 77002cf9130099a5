"""Plans what each listener hears, in which order and on which side.

A plan is the list of trials of one listener. Plans come in pairs: the second has the same trials
with all sides swapped. From one pair of plans to the next, the systems rotate over the sentences.
Over all plans, every pair of systems and every rated system therefore meets every sentence equally
often, and on each side equally often. (In the test of SNIPER's published code, dense always came
first and SNIPER last.)
"""

import math
from dataclasses import dataclass
from itertools import combinations
from random import Random

MIN_PLANS = 48
ITEMS_PER_CHECK = 10
"""For every ten items of a kind there is one attention check, and at least one in all."""
PREFERENCE, RATING = "preference", "rating"
CLEAN, CORRUPTED = "clean", "corrupted"
"""The two "systems" of attention checks: a clip, and the same clip under loud noise."""


@dataclass(frozen=True)
class Trial:
    """A preference between two clips, the left one first, or the rating of one clip."""

    kind: str
    sentence: str
    systems: tuple[str, ...]

    @property
    def is_check(self) -> bool:
        return CORRUPTED in self.systems

    def passed(self, answer: str | int) -> bool:
        """Whether an attention check was passed: clean side chosen, or a rating of at most 2."""
        if self.kind == RATING:
            return int(answer) <= 2
        return answer == ("left" if self.systems[0] == CLEAN else "right")

    def swapped(self) -> "Trial":
        return Trial(self.kind, self.sentence, self.systems[::-1])


Plan = list[Trial]


def make_plans(systems: list[str], sentences: list[str], seed: int) -> list[Plan]:
    """Make at least `MIN_PLANS` plans. The same arguments give the same plans."""
    pairs = list(combinations(systems, 2))
    rotations = math.lcm(len(pairs), len(systems))
    rotations *= math.ceil(MIN_PLANS / 2 / rotations)
    plans = []
    for rotation in range(rotations):
        # A string seeds Random alike in every process; a tuple would not.
        random = Random(f"{seed}/{rotation}")
        preferences = _preferences(pairs, sentences, rotation, random)
        ratings = [
            Trial(RATING, sentence, (system,))
            for sentence, system in zip(
                sentences, _deal(systems, len(sentences), rotation), strict=True
            )
        ]
        checks = max(1, len(sentences) // ITEMS_PER_CHECK)
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


def _deal(cards: list, hands: int, rotation: int) -> list:
    """Deal one card to each hand in turn, starting where the previous rotation stopped.

    When the start comes back to the first card, it moves on by one. Over as many rotations as there
    are cards, each hand therefore gets each card once.
    """
    period = len(cards) // math.gcd(len(cards), hands)
    first = rotation * hands + rotation // period
    return [cards[(first + hand) % len(cards)] for hand in range(hands)]


def _preferences(
    pairs: list[tuple[str, str]], sentences: list[str], rotation: int, random: Random
) -> list[Trial]:
    """Choose a pair of systems for each sentence.

    Each pair has its sentences in random order and alternates sides over them.
    """
    trials = [
        Trial(PREFERENCE, sentence, pair)
        for sentence, pair in zip(sentences, _deal(pairs, len(sentences), rotation), strict=True)
    ]
    random.shuffle(trials)
    trials.sort(key=lambda trial: pairs.index(trial.systems))
    start = random.randrange(2)
    return [
        trial.swapped() if (number + start) % 2 else trial for number, trial in enumerate(trials)
    ]


def _mirrored(plan: Plan, random: Random) -> Plan:
    """Swap the sides of all trials, and shuffle each block anew."""
    blocks: dict[str, list[Trial]] = {}
    for trial in plan:
        blocks.setdefault(trial.kind, []).append(trial.swapped())
    return [trial for block in blocks.values() for trial in random.sample(block, len(block))]
