"""The finished runs of an experiment folder, as tables, figures and the report want them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from preprocessing.artefacts import read_csv, read_json
from preprocessing.errors import RecipeError

REFERENCES = {"natural": "Natural recordings", "vocoded": "Vocoded recordings"}


@dataclass
class Run:
    """An evaluated run; `metrics` is its metrics.json."""

    folder: Path
    label: str
    metrics: dict

    @property
    def training(self) -> dict | None:
        return self.metrics["training"]

    def curve(self) -> list[dict[str, float]]:
        """Rows of the training's metrics.csv; none for a reference."""
        path = self.folder / "train" / "metrics.csv"
        if self.training is None:
            return []
        return [{name: float(value) for name, value in row.items()} for row in read_csv(path)]

    def sentences(self) -> list[dict[str, str]]:
        """Rows of utterances.csv, each with the path of its `wav`."""
        rows = read_csv(self.folder / "evaluation" / "utterances.csv")
        for row in rows:
            row["wav"] = str(self.folder / "synthesis" / row["set"] / f"{row['id']}.wav")
        return rows


def percent(fraction: float, digits: int = 0) -> str:
    return f"{100 * fraction:.{digits}f}"


def run_label(metrics: dict) -> str:
    """What a run is called where people read it."""
    if metrics["system"] != "model":
        return REFERENCES[metrics["system"]]
    training = metrics["training"]
    levels = [percent(switch["nominal"]) for switch in training["sparsity_switches"]]
    kind = training["sparsity"]["kind"]
    label = {
        "dense": "Dense",
        "constant": f"Constant {levels[0]} %" if levels else "",
        "decaying": f"Decaying {' → '.join(levels)} %",
    }[kind]
    return label if training["seed"] == 0 else f"{label}, seed {training['seed']}"


def finished_runs(experiment: Path) -> list[Run]:
    """Natural, vocoded, then trained runs by kind, start and seed.

    Raises:
        RecipeError: no run is finished.
    """
    runs = []
    for path in experiment.glob("*/evaluation/metrics.json"):
        if read_json(path.parent / "stage.json")["complete"]:
            metrics = read_json(path)
            runs.append(Run(path.parents[1], run_label(metrics), metrics))
    if not runs:
        raise RecipeError(f"no finished run in {experiment}: run `make demo`, or stages 4 to 6")
    kinds = ["dense", "constant", "decaying"]

    def order(run: Run) -> tuple:
        if run.training is None:
            return (0, list(REFERENCES).index(run.metrics["system"]), 0, 0, "")
        sparsity = run.training["sparsity"]
        start = sparsity.get("start", 0)
        return (1, kinds.index(sparsity["kind"]), start, run.training["seed"], run.folder.name)

    labels = Counter(run.label for run in runs)
    for run in runs:
        if labels[run.label] > 1:  # they differ in what a label leaves out, such as their length
            run.label += f" ({run.folder.name})"
    return sorted(runs, key=order)
