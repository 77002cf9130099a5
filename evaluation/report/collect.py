"""The finished runs of an experiment, grouped over seeds, for tables and figures."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from evaluation.report.formats import percent
from evaluation.settings import Settings
from pipeline.configuration import evaluation_fingerprint
from pipeline.errors import RecipeError
from pipeline.files import read_csv, read_json
from pipeline.records import Record, current_records, read_runs

REFERENCES = {"natural": "Natural recordings", "vocoded": "Vocoded recordings"}
KINDS = ["dense", "constant", "decaying", "rising", "gradual", "alternating"]
PAPER = {"cap": 0.75, "score": "snip", "lr_scaling": "per_tensor", "regrowth": "init"}
PAPER |= {"strategy": None, "pattern": None, "min_density": 0, "pruned": "zero", "shuffle": False}
PAPER |= {"return_order": "highest_first", "groups": []}
"""The paper's settings of sparse training, which labels leave out."""


@dataclass
class Run:
    """An evaluated run, or the record of one; `metrics` holds its metrics.json."""

    folder: Path
    label: str
    metrics: dict
    recorded: bool = False
    """whether the folder is a record, which contains neither audio nor masks"""

    @property
    def training(self) -> dict | None:
        return self.metrics["training"]

    @property
    def seed(self) -> int:
        """0 for natural and vocoded recordings, which have no seed."""
        return self.training["seed"] if self.training else 0

    @property
    def settings(self) -> list[str]:
        """The overrides in the run's name, except the seed."""
        given = [] if self.folder.name == "default" else self.folder.name.split(",")
        return [each for each in given if not each.startswith("seed=")]

    @property
    def precision(self) -> tuple[str | None, str | None]:
        """Precision of training and of vocoding; None where not done or not recorded."""
        training, synthesis = self.training or {}, self.metrics.get("synthesis", {})
        return training.get("precision"), synthesis.get("precision")

    @property
    def context(self) -> tuple:
        """Everything but seed and sparsity that two trained runs need in common to be compared."""
        vocoder, recogniser = self.metrics["synthesis"]["vocoder"], self.metrics["recogniser"]
        return (self.training["context"], self.precision, vocoder, recogniser)

    @property
    def has_audio(self) -> bool:
        return (self.folder / "synthesis" / "manifest.csv").exists()

    @cached_property
    def curve(self) -> list[dict[str, float]]:
        """Rows of metrics.csv without their empty cells; no rows for recordings."""
        path = self.folder / "train" / "metrics.csv"
        if self.training is None:
            return []
        return [
            {name: float(value) for name, value in row.items() if value} for row in read_csv(path)
        ]

    @cached_property
    def sentences(self) -> list[dict[str, str]]:
        """Rows of utterances.csv; `wav` is added, the path of the sentence's audio."""
        rows = read_csv(self.folder / "evaluation" / "utterances.csv")
        for row in rows:
            row["wav"] = str(self.folder / "synthesis" / row["set"] / f"{row['id']}.wav")
        return rows


@dataclass
class Group:
    """A system: runs that differ in their seeds alone, ordered by seed."""

    label: str
    runs: list[Run]

    @property
    def training(self) -> dict | None:
        """The first run's record of its training; None for recordings."""
        return self.runs[0].training

    @property
    def kind(self) -> str | None:
        return self.training["sparsity"]["kind"] if self.training else None

    @property
    def start(self) -> float:
        """The sparsity at which training starts, a fraction; 0 where it starts dense."""
        return self.training["sparsity"].get("start", 0.0) if self.training else 0.0

    @property
    def precision(self) -> tuple[str | None, str | None]:
        """`Run.precision`, which all runs share."""
        return self.runs[0].precision

    @property
    def run_with_audio(self) -> Run | None:
        """The first run whose audio is on this machine; None where all are records."""
        return next((run for run in self.runs if run.has_audio), None)

    def compares_with(self, other: "Group") -> bool:
        """Whether the two differ only in seed and sparsity, from the features to the recogniser."""
        return self.runs[0].context == other.runs[0].context


def run_label(metrics: dict) -> str:
    """The name of a run's system in tables and figures."""
    if metrics["system"] != "model":
        return REFERENCES[metrics["system"]]
    training = metrics["training"]
    sparsity = training["sparsity"]
    levels = [percent(switch["nominal"]) for switch in training["sparsity_switches"]]
    label = {
        "dense": lambda: "Dense",
        "constant": lambda: f"Constant {levels[0]} %",
        "decaying": lambda: f"Decaying {' → '.join(levels)} %",
        "rising": lambda: f"Rising {' → '.join(levels)} %",
        "gradual": lambda: f"Gradual magnitude pruning to {levels[-1]} %",
        "alternating": lambda: f"Alternating, 0 and {levels[-1]} %",
    }[sparsity["kind"]]()
    return ", ".join([label, *_deviations(sparsity)])


def _deviations(sparsity: dict) -> list[str]:
    """Each setting of sparse training that differs from the paper's, in words."""
    given = PAPER | sparsity
    if given["kind"] in ("rising", "gradual", "alternating"):
        given |= {"score": PAPER["score"]}  # these kinds rank by magnitude, whatever the score
    cap = "no cap" if given["cap"] == 1 else f"cap {percent(given['cap'])} %"
    scaling = {"none": "rate not scaled", "global": "rate scaled globally"}
    words = {
        "cap": cap,
        "score": f"{given['score']} scores",
        "lr_scaling": scaling.get(given["lr_scaling"], ""),
        "regrowth": "regrowth from zero",
        "strategy": {"rigl": "RigL", "set": "SET"}.get(given["strategy"], ""),
        "pattern": f"pattern {given['pattern']}",
        "min_density": f"at least {percent(given['min_density'])} % of each tensor",
        "pruned": {"frozen": "frozen, not zero", "trained": "rates only"}.get(given["pruned"], ""),
        "shuffle": "scores shuffled within tensors",
        "return_order": "highest scores return last",
        "groups": f"groups {', '.join(group['parameters'] for group in given['groups'])}",
    }
    return [words[name] for name, usual in PAPER.items() if given[name] != usual]


def finished_runs(folders: Iterable[Path], records: Iterable[Path] = ()) -> list[Run]:
    """Read finished runs: natural, then vocoded, then trained ones by kind, start and seed.

    Args:
        folders: folders of finished runs.
        records: folders of records. A record is ignored if its run is among `folders`.

    Raises:
        RecipeError: there is no run.
    """
    own, recorded = ({path.name: path for path in paths} for paths in (folders, records))
    runs = []
    for name, folder in (recorded | own).items():
        metrics = read_json(folder / "evaluation" / "metrics.json")
        runs.append(Run(folder, run_label(metrics), metrics, recorded=name not in own))
    if not runs:
        raise RecipeError("no finished run of these settings: run `make demo`, or stages 4 to 6")

    def order(run: Run) -> tuple:
        if run.training is None:
            return (0, list(REFERENCES).index(run.metrics["system"]), 0, "", 0, "")
        sparsity = run.training["sparsity"]
        start = sparsity.get("start", sparsity.get("end", 0))
        settings = ",".join(run.settings)
        return (1, KINDS.index(sparsity["kind"]), start, settings, run.seed, run.folder.name)

    return sorted(runs, key=order)


def grouped(runs: list[Run]) -> list[Group]:
    """Group runs of the same settings and precision, in the order of each group's first run."""
    groups: dict[tuple, Group] = {}
    for run in runs:
        group = groups.setdefault((run.label, run.precision, *run.settings), Group(run.label, []))
        group.runs.append(run)
    for label, count in Counter(group.label for group in groups.values()).items():
        if count > 1:  # they differ in settings that labels leave out, such as the updates
            alike = [group for group in groups.values() if group.label == label]
            shared = set.intersection(*(set(group.runs[0].settings) for group in alike))
            settings_differ = len({tuple(group.runs[0].settings) for group in alike}) > 1
            precisions_differ = len({group.precision for group in alike}) > 1
            for group in alike:
                own = [each for each in group.runs[0].settings if each not in shared]
                names = [",".join(own) or "default"] if settings_differ else []
                if precisions_differ:
                    names += [_precision_name(group.precision)]
                group.label += f" ({'; '.join(names)})"
    return list(groups.values())


def _precision_name(precision: tuple[str | None, str | None]) -> str:
    parts = zip(("training", "vocoding"), precision, strict=True)
    known = [f"{part} in {each}" for part, each in parts if each]
    return ", ".join(known) or "precision not recorded"


def is_recognised(groups: list[Group]) -> bool:
    """Tell whether a recogniser transcribed any run, so that there are error rates."""
    return any(run.metrics["recogniser"] for group in groups for run in group.runs)


def baselines(group: Group, groups: list[Group]) -> list[Group]:
    """Find what a trained group is tested against: dense, and constant sparsity of the same start.

    The baselines have the same settings except for sparsity, where they have the paper's settings.
    """
    if group.kind in (None, "dense"):
        return []
    found = [other for other in groups if other.training and other.compares_with(group)]
    dense = [other for other in found if other.kind == "dense"]
    if group.kind == "constant":
        return dense
    usual = {name: value for name, value in PAPER.items() if name != "cap"}
    constant = [
        other
        for other in found
        if other.kind == "constant"
        and other.start == group.training["sparsity"].get("start", -1)
        and usual.items() <= (PAPER | other.training["sparsity"]).items()
    ]
    return dense + constant


def current_runs(config: Settings, records: Iterable[Record] = ()) -> list[Run]:
    """Read the finished runs and `records` whose settings are still the current ones.

    Prints which ones are left out, and why.

    Raises:
        RecipeError: none is left.
    """
    kept, fingerprint_of = [], partial(evaluation_fingerprint, type(config))
    for group in (read_runs(Path(config.paths.experiment)), records):
        current, outdated = current_records(group, fingerprint_of)
        for folder, reason in outdated.items():
            print(f"{folder} is left out: {reason}")
        kept.append(current)
    return finished_runs(*kept)
