"""Compare strategies of sparse training on scikit-learn's digits, at 80 and 95 % sparsity.

`python recipes/digits/strategies.py` takes a few minutes and writes `strategies.md` and
`strategies.csv` next to this file: test accuracy, theoretical FLOPs and hidden units without any
input. `momentum` as an argument trains as the paper of RigL does; the names of the files then
contain it. See README.md.
"""

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import nn

from run import EPOCHS, FOLDER, LEARNING_RATE, SCORING_BATCHES, UPDATES_PER_EPOCH, Task, interval
from sniper import SET, RigL, Sniper, SparsitySchedule, count_flops, random_scores, snip_scores

SEEDS = range(10)
SPARSITIES = (0.8, 0.95)
CAPS = {0.8: 0.95, 0.95: 0.98}  # of the systems with SNIP's scores
UPDATES = EPOCHS * UPDATES_PER_EPOCH
Settings = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """How all systems are trained, and how often masks move."""

    rate: float = LEARNING_RATE
    momentum: float = 0.0
    scaling: str = "per_tensor"
    every: int = UPDATES_PER_EPOCH

    @property
    def moving(self) -> Settings:
        return {"every": self.every, "until": UPDATES * 3 // 4}


# RigL's paper has momentum, unscaled rates, and moves masks every 100 updates. The rate is the best
# of 0.03, 0.1, 0.2 and 0.3 for dense training on seeds 100 to 103, where 0.1 and 0.2 tie.
WAYS = {"scaled": Way(), "momentum": Way(rate=0.1, momentum=0.9, scaling="none", every=100)}


def random(model: nn.Module, task: Task, seed: int) -> dict:
    return random_scores(model, seed)


def snip(model: nn.Module, task: Task, seed: int) -> dict:
    return snip_scores(model, task.loss, task.batches()[:SCORING_BATCHES])


def decaying(sparsity: float) -> SparsitySchedule:
    """Half the sparsity every five epochs, and none from epoch 20 on."""
    levels = {5 * i * UPDATES_PER_EPOCH: sparsity / 2**i for i in range(4)}
    return SparsitySchedule.steps(levels | {20 * UPDATES_PER_EPOCH: 0.0})


def alternating(sparsity: float) -> SparsitySchedule:
    """AC/DC: phases of three epochs, and sparse from epoch 21 on."""
    return SparsitySchedule.alternating(sparsity, 3 * UPDATES_PER_EPOCH, 21 * UPDATES_PER_EPOCH)


def erk(s: float, **more: Any) -> Settings:
    return {"schedule": s, "allocation": "erk", **more}


# {name: (scores, settings of Sniper at a sparsity in a way)}
SYSTEMS: dict[str, tuple[Callable, Callable[[float, Way], Settings]]] = {
    "static random": (random, lambda s, way: erk(s)),
    "SET": (random, lambda s, way: erk(s, strategy=SET(**way.moving))),
    "RigL": (random, lambda s, way: erk(s, strategy=RigL(**way.moving))),
    "AC/DC": (
        random,
        lambda s, way: {"schedule": alternating(s), "regrowth": "zero", "cap": CAPS[s]},
    ),
    "constant, SNIP": (snip, lambda s, way: {"schedule": s, "cap": CAPS[s]}),
    "SNIPER to 0": (snip, lambda s, way: {"schedule": decaying(s), "cap": CAPS[s]}),
}


def train(system: str, sparsity: float, name: str, seed: int) -> tuple[float, ...]:
    """Train in a way of this name.

    Returns:
        test accuracy; FLOPs of training and of inference relative to dense; hidden units without
        any input at the end.
    """
    task, way = Task(seed), WAYS[name]
    scored, settings_at = SYSTEMS.get(system, (random, lambda s, way: {"schedule": 0.0}))
    settings = settings_at(sparsity, way)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=way.rate, momentum=way.momentum)
    scores = scored(task.model, task, seed)
    sniper = Sniper(task.model, optimizer, scores, **settings, lr_scaling=way.scaling)
    accuracies = [task.epoch(optimizer) for _ in range(EPOCHS)]
    flops = count_flops(task.model, lambda model: task.loss(model, task.batches()[0]))
    training = flops.training(sniper.record, UPDATES, strategy=settings.get("strategy"))
    inference = flops.forward(sniper.record[-1].tensors) / flops.forward()
    hidden = [task.model.get_parameter(f"{layer}.weight").detach() for layer in (0, 2)]
    empty = sum(int((weight == 0).all(1).sum()) for weight in hidden)
    return accuracies[-1], training / flops.training([], UPDATES), inference, empty


def table(found: dict[tuple[str, float], np.ndarray]) -> str:
    """Format means over the seeds; FLOPs, which hardly depend on the seed, as means alone."""
    head = ["", "sparsity, %", "accuracy, %", "training FLOPs", "inference FLOPs", "empty units"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for (system, sparsity), values in found.items():
        mean, width = interval(100 * values[:, 0])
        training, inference, empty = values[:, 1:].mean(0)
        cells = [system, f"{100 * sparsity:g}", f"{mean:.1f} ± {width:.1f}"]
        cells += [f"{training:.2f}", f"{inference:.2f}", f"{empty:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    static, moved = (found[name, 0.95][:, 0] for name in ("static random", "RigL"))
    mean, width = interval(100 * (moved - static))
    lines += ["", f"RigL minus static random at 95 %, paired by seed: {mean:+.1f} ± {width:.1f}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    way = sys.argv[1] if len(sys.argv) > 1 else "scaled"
    suffix = "" if way == "scaled" else f"_{way}"
    keys = [("dense", 0.0), *((name, s) for s in SPARSITIES for name in SYSTEMS)]
    jobs = [(*key, seed) for key in keys for seed in SEEDS]
    results = Parallel(n_jobs=-1, verbose=1)(
        delayed(train)(system, sparsity, way, seed) for system, sparsity, seed in jobs
    )
    found = {
        key: np.array([r for job, r in zip(jobs, results, strict=True) if job[:2] == key])
        for key in keys
    }
    with open(FOLDER / f"strategies{suffix}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        head = ["system", "sparsity", "seed", "accuracy", "training", "inference", "empty units"]
        writer.writerow(head)
        for job, result in zip(jobs, results, strict=True):
            writer.writerow([*job, *(f"{value:.4f}" for value in result)])
    text = (
        f"Test accuracy after epoch {EPOCHS}, mean of {len(SEEDS)} seeds ± 95 % confidence "
        "interval; theoretical FLOPs, dense = 1; hidden units, of 256, that no input reaches:"
        f"\n\n{table(found)}"
    )
    (FOLDER / f"strategies{suffix}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
