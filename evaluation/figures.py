"""Figures over runs: losses, sparsity, and one sentence in each system."""

from pathlib import Path

import matplotlib
import numpy as np
import soundfile
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import DictConfig

from evaluation.collect import Run
from preprocessing.artefacts import atomic_path
from preprocessing.corpus import SAMPLE_RATE
from preprocessing.features import estimate_f0
from preprocessing.mel import HOP, log_mel
from preprocessing.store import FeatureStore

F0_RANGE = (50, 450)
"""Hz, the same for all systems so that they can be compared."""


def _save(figure: Figure, path: Path) -> None:
    # Without the library's version in it, the same data give the same bytes.
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def _curves(axes: Axes, runs: list[Run], column: str) -> None:
    for number, run in enumerate(run for run in runs if run.training):
        curve = run.curve()
        style = ["-", "--", "-.", ":"][number % 4]
        updates = [row["update"] for row in curve]
        axes.plot(updates, [row[column] for row in curve], style, label=run.label)
    axes.set_xlabel("update")


def losses(runs: list[Run]) -> Figure:
    """Validation losses by update."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, part in zip(figure.subplots(1, 3), ("total", "mel", "pitch"), strict=True):
        _curves(axes, runs, f"validation_{part}")
        axes.set_title(f"validation loss: {part}")
    figure.axes[0].legend()
    return figure


def sparsity(runs: list[Run]) -> Figure:
    """Achieved sparsity by update, from the switches that were recorded."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    for run in runs:
        if not run.training:
            continue
        switches = run.training["sparsity_switches"] or [{"update": 0, "achieved": 0.0}]
        updates = [switch["update"] for switch in switches] + [run.training["updates"]]
        levels = [100 * switch["achieved"] for switch in switches]
        axes.step(updates, [*levels, levels[-1]], where="post", label=run.label)
    axes.set_xlabel("update")
    axes.set_ylabel("weights masked, %")
    axes.legend()
    return figure


def sentence(runs: list[Run], store: FeatureStore, f0: DictConfig) -> Figure:
    """Mel, phones and F0 of the first held-out sentence in each system."""
    index = int(store.split("test")[0])
    segment = store.segment(index)
    phones = [store.symbols[phone] for phone in segment.phones]
    runs = [run for run in runs if any(row["id"] == segment.id for row in run.sentences())]
    figure = Figure(figsize=(10, 2.1 * len(runs)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(runs), 1, sharex=True))
    for axes, run in zip(panels, runs, strict=True):
        wav = run.folder / "synthesis" / "heldout" / f"{segment.id}.wav"
        waveform, _ = soundfile.read(wav, dtype="float32")
        _mel_and_f0(axes, waveform, f0)
        _phones(axes, phones, np.load(wav.with_suffix(".durations.npy")))
        axes.set_title(run.label, fontsize=9, loc="left", pad=14)
    panels[-1].set_xlabel("seconds")
    figure.suptitle(f"“{segment.text}”", fontsize=10)
    return figure


def _mel_and_f0(axes: Axes, waveform: np.ndarray, f0: DictConfig) -> None:
    mel = log_mel(torch.from_numpy(waveform)).numpy()
    seconds = mel.shape[1] * HOP / SAMPLE_RATE
    axes.imshow(mel, origin="lower", aspect="auto", extent=(0, seconds, 0, len(mel)), cmap="gray_r")
    axes.set_ylabel("mel band", fontsize=8)
    hertz = estimate_f0(waveform, f0)[: mel.shape[1]]
    times = (np.arange(len(hertz)) + 0.5) * HOP / SAMPLE_RATE
    pitch = axes.twinx()
    pitch.plot(times, np.where(hertz > 0, hertz, np.nan), color="#d55e00", linewidth=1.5)
    pitch.set_ylabel("F0, Hz", fontsize=8, color="#d55e00")
    pitch.set_ylim(*F0_RANGE)


def _phones(axes: Axes, phones: list[str], durations: np.ndarray) -> None:
    ends = np.cumsum(durations) * HOP / SAMPLE_RATE
    for start, end, phone in zip([0.0, *ends], ends, phones, strict=False):
        axes.axvline(end, color="#0072b2", linewidth=0.5)
        axes.text((start + end) / 2, 81, phone.strip("012"), fontsize=6, ha="center")


def write_figures(
    runs: list[Run], store: FeatureStore, f0: DictConfig, folder: Path
) -> dict[str, Path]:
    """Write the figures as PNG; their paths by caption. F0 is found as `f0` says."""
    matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(
        color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
    )
    figures = {}
    if any(run.training for run in runs):
        figures["Validation losses over training"] = ("losses.png", losses(runs))
        figures["Sparsity over training"] = ("sparsity.png", sparsity(runs))
    caption = "Mel, phones (above) and F0 (line) of one held-out sentence in each system"
    figures[caption] = ("sentence.png", sentence(runs, store, f0))
    for name, figure in figures.values():
        _save(figure, folder / name)
    return {caption: folder / name for caption, (name, _) in figures.items()}
