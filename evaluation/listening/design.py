"""Plans what each listener hears, in which order and on which side.

A plan is the list of trials of one listener. Plans come in pairs: the second has the same trials
with all sides swapped. From one pair of plans to the next, the systems rotate over the sentences.
Over all plans, every pair of systems and every rated system therefore meets every sentence equally
often, and on each side equally often. (In the test of SNIPER's published code, dense always came
first and SNIPER last.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any

MIN_PLANS = 48
ITEMS_PER_CHECK = 10
"""For every ten items of a kind there is one attention check, and at least one in all."""
PREFERENCE, RATING, BEST_WORST, MUSHRA = KINDS = ("preference", "rating", "best_worst", "mushra")
CLEAN, CORRUPTED = "clean", "corrupted"
"""The two "systems" of attention checks: a clip, and the same clip under loud noise."""
REFERENCE, MIDDLE_ANCHOR, LOW_ANCHOR = HIDDEN = ("reference", "middle anchor", "low anchor")
"""What MUSHRA hides among the systems: the reference, and the reference below 7 and 3.5 kHz."""
OPEN_REFERENCE = "open reference"
"""The reference that listeners know; its file has another name than the hidden one's."""


LEVELS = {PREFERENCE: "nominal", RATING: "ordinal", BEST_WORST: "ordinal", MUSHRA: "interval"}
"""The level of measurement of each kind, for the agreement of listeners."""


@dataclass(frozen=True)
class Trial:
    """One question: the clips of some systems that speak the same sentence.

    A preference has two, of which the first is on the left, a rating has one, best and worst has
    three, and MUSHRA has all systems, the hidden reference and the anchors.
    """

    kind: str
    sentence: str
    systems: tuple[str, ...]

    @property
    def is_check(self) -> bool:
        return CORRUPTED in self.systems

    @property
    def clips(self) -> tuple[str, ...]:
        """The clips that have to be heard. MUSHRA has the open reference after the others."""
        return (*self.systems, OPEN_REFERENCE) if self.kind == MUSHRA else self.systems

    def passed(self, answer: Any) -> bool:
        """Whether an attention check was passed: the noise is not preferred, 1 or 2, or worst."""
        if self.kind == RATING:
            return answer <= 2
        if self.kind == BEST_WORST:
            return self.systems[answer["worst"]] == CORRUPTED
        return answer == ("left" if self.systems[0] == CLEAN else "right")

    def swapped(self) -> "Trial":
        return Trial(self.kind, self.sentence, self.systems[::-1])


Plan = list[Trial]


def make_plans(
    systems: list[str], sentences: list[str], seed: int, kinds: Sequence[str] = KINDS[:2]
) -> list[Plan]:
    """Make at least `MIN_PLANS` plans, with a block of trials for each of `kinds`.

    The same arguments give the same plans.
    """
    groups = {
        PREFERENCE: list(combinations(systems, 2)),
        RATING: [(system,) for system in systems],
        BEST_WORST: list(combinations(systems, 3)),
        MUSHRA: [(*systems, *HIDDEN)],
    }
    kinds = [kind for kind in KINDS if kind in kinds]
    rotations = math.lcm(*(len(groups[kind]) for kind in kinds))
    rotations *= math.ceil(MIN_PLANS / 2 / rotations)
    checks = max(1, len(sentences) // ITEMS_PER_CHECK)
    checked_kinds = [kind for kind in kinds if kind != MUSHRA]  # its reference and anchors check
    plans = []
    for rotation in range(rotations):
        # A string seeds Random alike in every process; a tuple would not.
        random = Random(f"{seed}/{rotation}")
        blocks = {kind: _trials(kind, groups[kind], sentences, rotation, random) for kind in kinds}
        checked = random.sample(sentences, min(len(sentences), len(checked_kinds) * checks))
        for place, kind in enumerate(checked_kinds):
            for number, sentence in enumerate(checked[place * checks : (place + 1) * checks]):
                check = (CORRUPTED,) if kind == RATING else (CLEAN, CORRUPTED)
                if kind == BEST_WORST:
                    check = tuple(random.sample([*systems[:2], CORRUPTED], 3))
                trial = Trial(kind, sentence, check)
                blocks[kind].append(trial if (number + rotation) % 2 else trial.swapped())
        shuffled = [random.sample(block, len(block)) for block in blocks.values()]
        random.shuffle(shuffled)
        plan = [trial for block in shuffled for trial in block]
        plans += [plan, _mirrored(plan, random)]
    return plans


def _trials(
    kind: str, groups: list[tuple], sentences: list[str], rotation: int, random: Random
) -> list[Trial]:
    """Choose a group of systems for each sentence, and the order of their clips."""
    dealt = list(zip(sentences, _deal(groups, len(sentences), rotation), strict=True))
    if kind == PREFERENCE:
        return _preferences(dealt, groups, random)
    if kind == RATING:
        return [Trial(kind, sentence, group) for sentence, group in dealt]
    return [Trial(kind, name, tuple(random.sample(group, len(group)))) for name, group in dealt]


def _deal(cards: list, hands: int, rotation: int) -> list:
    """Deal one card to each hand in turn, starting where the previous rotation stopped.

    When the start comes back to the first card, it moves on by one. Over as many rotations as there
    are cards, each hand therefore gets each card once.
    """
    period = len(cards) // math.gcd(len(cards), hands)
    first = rotation * hands + rotation // period
    return [cards[(first + hand) % len(cards)] for hand in range(hands)]


def _preferences(
    dealt: list[tuple[str, tuple[str, str]]], pairs: list[tuple[str, str]], random: Random
) -> list[Trial]:
    """Order the two clips: each pair has its sentences in random order and alternates sides."""
    trials = [Trial(PREFERENCE, sentence, pair) for sentence, pair in dealt]
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
