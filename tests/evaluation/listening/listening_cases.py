"""Listening tests of synthetic sounds, and simulated listeners with known preferences."""

import contextlib
import copy
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from audio.constants import SAMPLE_RATE
from evaluation.listening.answers import Key
from evaluation.listening.design import (
    BEST_WORST,
    CLEAN,
    CORRUPTED,
    KINDS,
    LOW_ANCHOR,
    MIDDLE_ANCHOR,
    MUSHRA,
    PREFERENCE,
    REFERENCE,
    Trial,
    make_plans,
)
from evaluation.listening.server import make_server
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


def make_key(systems: list[str], seed: int = 0, kinds: Sequence[str] = KINDS[:2], **form) -> Key:
    plans = plans_of(systems, seed, kinds)
    return Key("t" * 16, {system: system.title() for system in systems}, plans, **form)


def plans_of(systems: list[str], seed: int = 0, kinds: Sequence[str] = KINDS[:2]):
    return make_plans(systems, SENTENCES, seed, kinds)


class Listener:
    """Prefers `favourite` with this probability if a pair contains it.

    In questions with more systems, it scores those of `ranking`, from the worst to the best, ten
    points apart, with noise. An attentive listener passes every check, any other fails all of them.
    """

    def __init__(
        self,
        seed: int,
        favourite: str,
        probability: float,
        attentive: bool = True,
        ranking: Sequence[str] = (),
    ):
        self.random = Random(seed)
        self.favourite, self.probability, self.attentive = favourite, probability, attentive
        self.ranking = ranking

    def answer(self, trial: Trial) -> str | int | dict | list:
        if trial.kind in (BEST_WORST, MUSHRA):
            scores = [self.score(system) for system in trial.systems]
            places = sorted(range(len(scores)), key=scores.__getitem__)
            return scores if trial.kind == MUSHRA else {"best": places[-1], "worst": places[0]}
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

    def score(self, system: str) -> int:
        usual = {REFERENCE: 100, MIDDLE_ANCHOR: 70, LOW_ANCHOR: 20, CORRUPTED: 0}
        if not self.attentive:
            usual = {REFERENCE: 50, MIDDLE_ANCHOR: 95, LOW_ANCHOR: 95, CORRUPTED: 100}
        if system in usual:
            return usual[system]
        return 35 + 10 * self.ranking.index(system) + self.random.randint(-8, 8)

    def answers(self, key: Key, plan: int) -> dict:
        """All answers to one plan, as the page would send them."""
        return {
            "test": key.test,
            "listener": f"{self.random.getrandbits(128):032x}",
            "plan": plan,
            "headphones": True,
            "seconds": round(self.random.uniform(200, 900), 3),
            "answers": [
                {"answer": self.answer(trial), "plays": [1] * len(trial.clips)}
                for trial in key.plans[plan]
            ],
        }


KEY = make_key(["dense", "sniper"])
GOOD = Listener(0, "sniper", 0.7).answers(KEY, 0)


def changed(**fields) -> dict:
    return copy.deepcopy(GOOD) | fields


def with_answer(**fields) -> dict:
    answers = copy.deepcopy(GOOD)
    answers["answers"][0] |= fields
    return answers


BAD = [
    (b"", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"[" * 50_000, "not JSON"),
    (b'{"plan": 1, "plan": 2}', "a name is repeated"),
    (json.dumps(changed(seconds=float("nan"))).encode(), "seconds: .* finite number"),
    (json.dumps(changed(seconds=float("inf"))).encode(), "seconds: "),
    (json.dumps(with_answer(answer=float("nan"))).encode(), "answer 1: .* integer"),
    (b"[]", "valid dictionary"),
    (json.dumps(changed(more=1)).encode(), "more: Extra inputs are not permitted"),
    (json.dumps({"test": GOOD["test"]}).encode(), "listener: Field required"),
    (json.dumps(changed(test="another")).encode(), "another test"),
    (json.dumps(changed(listener="../../etc/passwd")).encode(), "listener: .* pattern"),
    (json.dumps(changed(listener="0" * 32 + "\n")).encode(), "listener: .* pattern"),
    (json.dumps(changed(listener=None)).encode(), "listener: .* valid string"),
    (json.dumps(changed(plan=10_000)).encode(), "plan has to be below"),
    (json.dumps(changed(plan=True)).encode(), "plan: .* valid integer"),
    (json.dumps(changed(plan=-1)).encode(), "plan: .* greater than or equal to 0"),
    (json.dumps(changed(headphones="yes")).encode(), "headphones: .* valid boolean"),
    (json.dumps(changed(participant="")).encode(), "participant: .* at least 1 character"),
    (json.dumps(changed(participant="x" * 201)).encode(), "participant: .* at most 200"),
    (json.dumps(changed(participant=7)).encode(), "participant: .* valid string"),
    (json.dumps(changed(seconds=-1)).encode(), "seconds: .* greater than or equal to 0"),
    (json.dumps(changed(seconds=1e300)).encode(), "seconds: .* less than"),
    (json.dumps(changed(answers=GOOD["answers"][:-1])).encode(), "answers has to have 44 items"),
    (json.dumps(changed(answers=GOOD["answers"] * 2)).encode(), "answers has to have 44 items"),
    (json.dumps(with_answer(answer="both")).encode(), "answer 1: .* integer"),
    (json.dumps(with_answer(answer=["left"])).encode(), "answer 1: "),
    (json.dumps(with_answer(answer=6)).encode(), "answer 1: "),
    (json.dumps(with_answer(answer=True)).encode(), "answer 1: "),
    (json.dumps(with_answer(plays=[1] * 9)).encode(), "answer 1: plays has to have 1 counts"),
    (json.dumps(with_answer(plays=[1.5, 1])).encode(), "answers.0.plays.0: .* valid integer"),
    (json.dumps(with_answer(why="<script>")).encode(), "answers.0.why: Extra inputs"),
]


@contextlib.contextmanager
def running(server, listener):
    """Run a server of `make_server` in a thread meanwhile; the context gives its host and port."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(timeout=60)
        assert not thread.is_alive()


def serving(folder: Path, **options):
    """Serve the test in this folder meanwhile."""
    return running(*make_server(folder, "127.0.0.1", 0, **options))
