"""Compare strategies of sparse training on scikit-learn's digits, at 80 and 95 % sparsity.

`python recipes/digits/strategies.py` takes a few minutes and writes `strategies.md` and
`strategies.csv` next to this file: test accuracy and theoretical FLOPs. With `none`, learning rates
are not scaled, and the names of the files contain it. See README.md.
"""

import csv
import sys
from collections.abc import Callable
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
MOVING = {"every": UPDATES_PER_EPOCH, "until": UPDATES * 3 // 4}

Settings = dict[str, Any]


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


# {name: (scores, settings of Sniper at a sparsity)}
SYSTEMS: dict[str, tuple[Callable, Callable[[float], Settings]]] = {
    "static random": (random, lambda s: {"schedule": s, "allocation": "erk"}),
    "SET": (random, lambda s: {"schedule": s, "allocation": "erk", "strategy": SET(**MOVING)}),
    "RigL": (random, lambda s: {"schedule": s, "allocation": "erk", "strategy": RigL(**MOVING)}),
    "AC/DC": (random, lambda s: {"schedule": alternating(s), "regrowth": "zero", "cap": CAPS[s]}),
    "constant, SNIP": (snip, lambda s: {"schedule": s, "cap": CAPS[s]}),
    "SNIPER to 0": (snip, lambda s: {"schedule": decaying(s), "cap": CAPS[s]}),
}


def train(system: str, sparsity: float, scaling: str, seed: int) -> tuple[float, float, float]:
    """Train; return test accuracy, and FLOPs of training and of inference relative to dense."""
    task = Task(seed)
    scored, settings_at = SYSTEMS.get(system, (random, lambda s: {"schedule": 0.0}))
    settings = settings_at(sparsity)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=LEARNING_RATE)
    scores = scored(task.model, task, seed)
    sniper = Sniper(task.model, optimizer, scores, **settings, lr_scaling=scaling)
    accuracies = [task.epoch(optimizer) for _ in range(EPOCHS)]
    flops = count_flops(task.model, lambda model: task.loss(model, task.batches()[0]))
    training = flops.training(sniper.record, UPDATES, strategy=settings.get("strategy"))
    inference = flops.forward(sniper.record[-1].tensors) / flops.forward()
    return accuracies[-1], training / flops.training([], UPDATES), inference


def table(found: dict[tuple[str, float], np.ndarray]) -> str:
    """Format means over the seeds; FLOPs, which hardly depend on the seed, as means alone."""
    lines = ["| | sparsity, % | accuracy, % | training FLOPs | inference FLOPs |"]
    lines += ["|---|---|---|---|---|"]
    for (system, sparsity), values in found.items():
        mean, width = interval(100 * values[:, 0])
        training, inference = values[:, 1:].mean(0)
        cells = [system, f"{100 * sparsity:g}", f"{mean:.1f} ± {width:.1f}"]
        lines.append(f"| {' | '.join([*cells, f'{training:.2f}', f'{inference:.2f}'])} |")
    static, moved = (found[name, 0.95][:, 0] for name in ("static random", "RigL"))
    mean, width = interval(100 * (moved - static))
    lines += ["", f"RigL minus static random at 95 %, paired by seed: {mean:+.1f} ± {width:.1f}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    scaling = sys.argv[1] if len(sys.argv) > 1 else "per_tensor"
    suffix = "" if scaling == "per_tensor" else f"_{scaling}"
    keys = [("dense", 0.0), *((name, s) for s in SPARSITIES for name in SYSTEMS)]
    jobs = [(*key, seed) for key in keys for seed in SEEDS]
    results = Parallel(n_jobs=-1, verbose=1)(
        delayed(train)(system, sparsity, scaling, seed) for system, sparsity, seed in jobs
    )
    found = {
        key: np.array([r for job, r in zip(jobs, results, strict=True) if job[:2] == key])
        for key in keys
    }
    with open(FOLDER / f"strategies{suffix}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["system", "sparsity", "seed", "accuracy", "training", "inference"])
        for job, result in zip(jobs, results, strict=True):
            writer.writerow([*job, *(f"{value:.4f}" for value in result)])
    text = (
        f"Test accuracy after epoch {EPOCHS}, mean of {len(SEEDS)} seeds ± 95 % confidence "
        f"interval; theoretical FLOPs, dense = 1:\n\n{table(found)}"
    )
    (FOLDER / f"strategies{suffix}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
