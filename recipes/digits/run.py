"""Compare dense, constantly sparse and SNIPER training on scikit-learn's digits.

`python recipes/digits/run.py` takes about a minute and writes `table.md`, `accuracy.csv` and
`accuracy.png` next to this file. Another learning rate may be given (`run.py 0.03`); the names of
the files then contain it. See README.md.
"""

import csv
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from joblib import Parallel, delayed
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from sniper import Sniper, SparsitySchedule, snip_scores  # noqa: E402 - needs the path above

SEEDS = range(20)
EPOCHS = 30
BATCH = 64
LEARNING_RATE = 0.3  # chosen for dense training, see README.md
SCORING_BATCHES = 8
SHOWN_EPOCHS = (1, 3, 5, 10, 20, 30)
UPDATES_PER_EPOCH = 17  # 1,078 training images in batches of 64

# The paper's schedule for images, {epoch: sparsity}. The model is dense from epoch 20 on.
DECAYING = {0: 0.8, 5: 0.4, 10: 0.2, 15: 0.1, 20: 0.0}
# {name: (sparsity by epoch, scaling of the learning rate)}
SYSTEMS = {
    "dense": ({0: 0.0}, "none"),
    "constant 80 %": ({0: 0.8}, "per_tensor"),
    "SNIPER 80 % to 0": (DECAYING, "per_tensor"),
    "SNIPER, rate not scaled": (DECAYING, "none"),
}


def digits(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split the data 60 : 40 into training and test images and their labels.

    Returns:
        training images `[images, 64]` with values of 0 to 1, test images, training labels
        `[images]`, test labels.
    """
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        (images / 16).astype(np.float32), labels, test_size=0.4, random_state=seed, stratify=labels
    )
    return tuple(torch.from_numpy(part) for part in parts)


class Task:
    """A perceptron and its data, which a seed determines: split, initial weights and order.

    Attributes:
        model: from images `[images, 64]` to logits `[images, 10]`.
    """

    def __init__(self, seed: int) -> None:
        torch.set_num_threads(1)
        self._images, self._test_images, self._labels, self._test_labels = digits(seed)
        torch.manual_seed(seed)
        self.model = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )
        self._order = torch.Generator().manual_seed(seed)

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Images and labels of the next epoch."""
        shuffled = torch.randperm(len(self._images), generator=self._order)
        return [(self._images[chosen], self._labels[chosen]) for chosen in shuffled.split(BATCH)]

    @staticmethod
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(model(images), labels)

    def epoch(self, optimizer: torch.optim.Optimizer) -> float:
        """Train for an epoch; return the test accuracy, a fraction."""
        for batch in self.batches():
            optimizer.zero_grad()
            self.loss(self.model, batch).backward()
            optimizer.step()
        with torch.no_grad():
            hits = self.model(self._test_images).argmax(1) == self._test_labels
        return float(hits.float().mean())


def train(system: str, seed: int, learning_rate: float) -> list[float]:
    """Train one system; return the test accuracy after each epoch, a fraction."""
    task = Task(seed)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=learning_rate)
    scores = snip_scores(task.model, task.loss, task.batches()[:SCORING_BATCHES])
    levels, lr_scaling = SYSTEMS[system]
    schedule = SparsitySchedule.steps(
        {epoch * UPDATES_PER_EPOCH: sparsity for epoch, sparsity in levels.items()}
    )
    # Under the paper's cap of 75 % per tensor, 80 % could not be reached.
    Sniper(task.model, optimizer, scores, schedule, cap=0.95, lr_scaling=lr_scaling)
    return [task.epoch(optimizer) for _ in range(EPOCHS)]


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over seeds (axis 0) and the half width of its 95 % confidence interval."""
    width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean(0), width


def table(accuracies: dict[str, np.ndarray]) -> str:
    """Format accuracies at the shown epochs, then differences from dense, paired by seed."""
    lines = [
        "Test accuracy in %, mean of 20 seeds ± 95 % confidence interval:\n",
        "| after epoch | " + " | ".join(str(epoch) for epoch in SHOWN_EPOCHS) + " |",
        "|---|" + "---|" * len(SHOWN_EPOCHS),
    ]
    shown = [epoch - 1 for epoch in SHOWN_EPOCHS]

    def row(name: str, values: np.ndarray, sign: str) -> str:
        mean, width = interval(100 * values[:, shown])
        cells = [f"{m:{sign}.1f} ± {w:.1f}" for m, w in zip(mean, width, strict=True)]
        return f"| {name} | " + " | ".join(cells) + " |"

    lines += [row(name, values, "") for name, values in accuracies.items()]
    lines += ["", "Difference from dense in points, paired by seed:\n", *lines[1:3]]
    dense = accuracies["dense"]
    lines += [
        row(name, values - dense, "+") for name, values in accuracies.items() if name != "dense"
    ]
    return "\n".join(lines) + "\n"


def plot(accuracies: dict[str, np.ndarray], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    epochs = np.arange(1, EPOCHS + 1)
    for name, values in accuracies.items():
        mean, width = interval(100 * values)
        (line,) = axes.plot(epochs, mean, label=name)
        axes.fill_between(epochs, mean - width, mean + width, color=line.get_color(), alpha=0.2)
    for epoch in list(DECAYING)[1:]:
        axes.axvline(epoch, color="grey", linewidth=0.6, linestyle=":")
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(40, 100))
    axes.set_title("Digits, 20 seeds; dotted: SNIPER's sparsity falls", fontsize=10)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    start = time.perf_counter()
    learning_rate = float(sys.argv[1]) if len(sys.argv) > 1 else LEARNING_RATE
    suffix = "" if learning_rate == LEARNING_RATE else f"_{learning_rate:g}"
    jobs = [(system, seed) for system in SYSTEMS for seed in SEEDS]
    results = Parallel(n_jobs=-1, verbose=1)(delayed(train)(*job, learning_rate) for job in jobs)
    accuracies = {
        system: np.array([r for (s, _), r in zip(jobs, results, strict=True) if s == system])
        for system in SYSTEMS
    }
    with open(FOLDER / f"accuracy{suffix}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["system", "seed", *(f"epoch {e}" for e in SHOWN_EPOCHS)])
        for (system, seed), result in zip(jobs, results, strict=True):
            writer.writerow([system, seed, *(f"{result[e - 1]:.4f}" for e in SHOWN_EPOCHS)])
    (FOLDER / f"table{suffix}.md").write_text(table(accuracies))
    plot(accuracies, FOLDER / f"accuracy{suffix}.png")
    print(table(accuracies))
    print(f"{len(jobs)} trainings in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
