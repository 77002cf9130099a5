"""Listening tests of synthetic sounds, and simulated listeners with known preferences."""

from pathlib import Path
from random import Random

import numpy as np
import soundfile

from audio.constants import SAMPLE_RATE
from evaluation.listening.answers import Key
from evaluation.listening.design import CLEAN, PREFERENCE, Trial, make_plans
from evaluation.report.collect import Run
from pipeline.files import write_csv

SENTENCES = [f"heldout/s{number:02d}" for number in range(20)]


def make_run(folder: Path, label: str, seed: int, seconds: float = 0.9, sentences: int = 20) -> Run:
    """Write a run whose clips are buzzes of different loudness."""
    random = np.random.default_rng(seed)
    rows = [{"set": "heldout", "id": f"s{number:02d}"} for number in range(sentences)]
    write_csv(folder / "evaluation" / "utterances.csv", ["set", "id"], rows)
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    (folder / "synthesis" / "heldout").mkdir(parents=True)
    for row in rows:
        buzz = np.sign(np.sin(2 * np.pi * random.uniform(100, 200) * times))
        wav = folder / "synthesis" / "heldout" / f"{row['id']}.wav"
        soundfile.write(wav, random.uniform(0.02, 0.5) * buzz, SAMPLE_RATE)
    return Run(folder, label, {"system": "model", "training": {"seed": 0}})


def make_key(systems: list[str], seed: int = 0) -> Key:
    return Key("t" * 16, {system: system.title() for system in systems}, plans_of(systems, seed))


def plans_of(systems: list[str], seed: int = 0):
    return make_plans(systems, SENTENCES, seed)


class Listener:
    """Prefers `favourite` with this probability if a pair contains it.

    An attentive listener passes every attention check, any other fails all of them.
    """

    def __init__(self, seed: int, favourite: str, probability: float, attentive: bool = True):
        self.random = Random(seed)
        self.favourite, self.probability, self.attentive = favourite, probability, attentive

    def answer(self, trial: Trial) -> str | int:
        if trial.is_check:
            if trial.kind != PREFERENCE:
                return 1 if self.attentive else 5
            clean = trial.systems.index(CLEAN)
            return ("left", "right")[clean if self.attentive else 1 - clean]
        if trial.kind != PREFERENCE:
            return self.random.choice([4, 5] if self.favourite in trial.systems else [2, 3])
        if self.favourite not in trial.systems:
            return self.random.choice(["left", "right", "same"])
        favoured = trial.systems.index(self.favourite)
        chosen = favoured if self.random.random() < self.probability else 1 - favoured
        return ("left", "right")[chosen]

    def answers(self, key: Key, plan: int) -> dict:
        """All answers to one plan, as the page would send them."""
        return {
            "test": key.test,
            "listener": f"{self.random.getrandbits(128):032x}",
            "plan": plan,
            "headphones": True,
            "seconds": round(self.random.uniform(200, 900), 3),
            "answers": [
                {"answer": self.answer(trial), "plays": [1] * len(trial.systems)}
                for trial in key.plans[plan]
            ],
        }
