"""Figures of training: losses with bands over seeds, sparsity, and masks."""

from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from evaluation.report.collect import Group, Run
from evaluation.report.formats import percent
from evaluation.report.line_styles import line_style
from fastspeech2.training.mask_files import read_masks
from pipeline.files import read_json

BEFORE, AFTER = 0.4, 0.2
"""Sparsity on both sides of the switch in the figure of masks, as in the paper's figure 1."""
SIDE = 96
"""Rows and columns of a matrix that the figure of masks shows."""


def loss_band(group: Group, column: str) -> dict[str, np.ndarray]:
    """Arrays `update`, `mean`, `low` and `high` of a column of metrics.csv over seeds, `[rows]`.

    Low and high are the lowest and the highest seed. Updates that a seed lacks are left out.
    """
    curves = [{row["update"]: row[column] for row in run.curve} for run in group.runs]
    updates = sorted(set.intersection(*(set(curve) for curve in curves)))
    values = np.array([[curve[update] for update in updates] for curve in curves])
    bounds = {"mean": values.mean(0), "low": values.min(0), "high": values.max(0)}
    return {"update": np.array(updates), **bounds}


def losses(groups: list[Group]) -> Figure:
    """Validation losses by update: means over seeds, and bands from the lowest to the highest."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, part in zip(figure.subplots(1, 3), ("total", "mel", "pitch"), strict=True):
        for number, group in enumerate(groups):
            style = line_style(number)
            band = loss_band(group, f"validation_{part}")
            axes.plot(band["update"], band["mean"], label=group.label, **style)
            if len(group.runs) > 1:
                bounds = (band["low"], band["high"])
                axes.fill_between(band["update"], *bounds, color=style["color"], alpha=0.2)
        axes.set_xscale("log")  # shows early convergence, which sparse training is about
        axes.set_xlabel("update")
        axes.set_title(f"validation loss: {part}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="outside lower center", ncols=4)
    return figure


def sparsity(groups: list[Group]) -> Figure:
    """Achieved sparsity of each system's first seed by update, from the recorded switches."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, group in enumerate(groups):
        training = group.training
        switches = training["sparsity_switches"] or [{"update": 0, "achieved": 0.0}]
        updates = [switch["update"] for switch in switches] + [training["updates"]]
        levels = [100 * switch["achieved"] for switch in switches]
        axes.step(
            updates, [*levels, levels[-1]], where="post", label=group.label, **line_style(number)
        )
    axes.set_xlabel("update")
    axes.set_ylabel("weights masked, %")
    figure.legend(fontsize=7, loc="outside lower center", ncols=3)
    return figure


def layers(groups: list[Group]) -> Figure | None:
    """Sparsity of each tensor at each system's highest level; None where no run recorded it."""
    shown, colours = {}, {}
    for number, group in enumerate(groups):
        path = group.runs[0].folder / "train" / "sparsity.json"
        if path.exists():
            colours[group.label] = line_style(number)["color"]
            shown[group.label] = max(read_json(path), key=lambda switch: switch["achieved"])
    if not shown:
        return None
    names = list(dict.fromkeys(name for switch in shown.values() for name in switch["tensors"]))
    figure = Figure(figsize=(8, 1.2 + 0.16 * (len(names) + len(shown))), layout="constrained")
    axes = figure.subplots()
    markers = "osD^vPX*<>"
    for number, (label, switch) in enumerate(shown.items()):
        rows = [names.index(name) for name in switch["tensors"]]
        level = f"{label}: {percent(switch['achieved'])} % at update {switch['update']}"
        values = [100 * value for value in switch["tensors"].values()]
        style = {"marker": markers[number % 10], "markersize": 4, "linestyle": "", "alpha": 0.8}
        axes.plot(values, rows, color=colours[label], label=level, **style)
    short = [name.removeprefix("model.").removesuffix(".weight") for name in names]
    axes.set_yticks(range(len(names)), short, fontsize=6)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", linewidth=0.3)
    axes.set_xlabel("weights masked, % of the tensor")
    figure.legend(fontsize=7, loc="outside lower center")
    return figure


def masks(groups: list[Group]) -> tuple[Figure, str] | None:
    """One matrix's mask at 40 % and then at 20 %, and the label of the system.

    The matrix is the large one whose own sparsity is closest to the overall sparsity. Returns None
    where no run has kept both masks.
    """
    for group in groups:
        if files := next(filter(None, map(_mask_files, group.runs)), None):
            break
    else:
        return None
    before, after = (read_masks(path) for path in files)
    large = {n: m for n, m in before.items() if len(m) >= SIDE and m[0].size >= SIDE} or before
    name = min(large, key=lambda name: abs(1 - large[name].mean() - BEFORE))
    # 0: masked at both levels; 1: came back at the switch; 2: kept at both.
    both = [mask[name].reshape(len(mask[name]), -1)[:SIDE, :SIDE] for mask in (before, after)]
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    colours = ListedColormap(["#1a1a1a", "#d55e00", "#f4f4f4"])
    left, right = figure.subplots(1, 2)
    left.imshow(2 * both[0], cmap=colours, vmin=0, vmax=2, interpolation="nearest")
    right.imshow(both[0] * 1 + both[1], cmap=colours, vmin=0, vmax=2, interpolation="nearest")
    for axes, mask, level in ((left, both[0], BEFORE), (right, both[1], AFTER)):
        axes.set_title(f"{percent(level)} % overall, {percent(1 - mask.mean())} % here", fontsize=9)
        axes.set_xlabel("input")
        axes.set_ylabel("output")
    entries = zip(colours.colors, ("masked", "came back", "kept"), strict=True)
    handles = [Patch(facecolor=colour, edgecolor="grey", label=text) for colour, text in entries]
    figure.legend(handles=handles, ncols=3, loc="outside lower center", fontsize=8)
    rows, columns = both[0].shape
    figure.suptitle(f"{name.removeprefix('model.')}, first {rows} × {columns} weights", fontsize=10)
    return figure, group.label


def _mask_files(run: Run) -> tuple[Path, Path] | None:
    """The files with a run's masks at `BEFORE` and `AFTER`; None unless it has both."""
    levels = {}
    for switch in run.training["sparsity_switches"]:
        path = run.folder / "train" / "masks" / f"{switch['update']:08d}.npz"
        if path.exists():
            levels.setdefault(round(switch["nominal"], 6), path)
    files = levels.get(BEFORE), levels.get(AFTER)
    return files if all(files) else None
