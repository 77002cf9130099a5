"""Figures of speech: errors by sentence length, and one sentence in each system."""

from collections import defaultdict

import numpy as np
import soundfile
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audio.constants import HOP, SAMPLE_RATE
from audio.f0 import estimate_f0
from audio.mel import log_mel
from audio.settings import F0Settings
from evaluation.report.collect import Group
from evaluation.report.line_styles import REFERENCE_STYLES, line_style
from preprocessing.features.store import FeatureStore

F0_RANGE = (50, 450)
"""Hz; the same for all systems, so that they can be compared."""
BINS = 5
"""Bins of sentence lengths for each set; fewer where it has fewer lengths."""


def length_bins(words: list[int]) -> list[int]:
    """The number of words at which each bin begins; bins hold about equally many sentences."""
    quantiles = np.quantile(words, np.linspace(0, 1, BINS + 1)[:-1], method="higher")
    first, *others = np.unique(quantiles).tolist()
    # If many sentences have the second bin's first length, too few may be left for the first bin.
    if others and np.sum(np.less(words, others[0])) < len(words) / BINS / 2:
        others = others[1:]
    return [first, *others]


def bin_names(begins: list[int], longest: int) -> list[str]:
    """Labels of the bins: "6–8", or "9" for a bin of a single length."""
    ends = [*(following - 1 for following in begins[1:]), longest]
    return [
        str(begin) if begin == end else f"{begin}–{end}"
        for begin, end in zip(begins, ends, strict=True)
    ]


def errors_by_length(groups: list[Group]) -> Figure:
    """WER by words of the ground truth: errors over words in each bin, all seeds pooled."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (of, title) in zip(
        figure.subplots(1, 2),
        {"heldout": "held-out prompts", "other": "other domains"}.items(),
        strict=True,
    ):
        axes.set_xlabel("words of the ground truth")
        axes.set_ylabel("WER, %")
        axes.set_title(title)
        rows_of_groups = [
            [r for run in group.runs for r in run.sentences if r["set"] == of and int(r["words"])]
            for group in groups
        ]
        # Counts each sentence once, however many runs have it.
        words = {row["id"]: int(row["words"]) for rows in rows_of_groups for row in rows}
        if not words:
            continue
        begins = length_bins(list(words.values()))
        names = bin_names(begins, max(words.values()))
        axes.set_xticks(range(len(names)), names)
        trained = [group for group in groups if group.training]
        for group, rows in zip(groups, rows_of_groups, strict=True):
            totals: dict[int, list[int]] = defaultdict(lambda: [0, 0])
            for row in rows:
                total = totals[int(np.digitize(int(row["words"]), begins)) - 1]
                total[0] += int(row["word_errors"])
                total[1] += int(row["words"])
            bins = sorted(totals)
            rates = [100 * totals[each][0] / totals[each][1] for each in bins]
            # Trained systems have the same colours in all figures.
            style = REFERENCE_STYLES.get(group.runs[0].metrics["system"])
            if group.training:
                style = line_style(trained.index(group)) | {"marker": "o"}
            axes.plot(bins, rates, markersize=4, label=group.label, **style)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, loc="outside lower center", ncols=4)
    return figure


def sentence(groups: list[Group], store: FeatureStore, f0: F0Settings) -> Figure | None:
    """Mel, phones and F0 of the first held-out sentence, from a run of each system with audio.

    Returns None where no run has audio.
    """
    index = int(store.split("test")[0])
    segment = store.segment(index)
    phones = [store.symbols[phone] for phone in segment.phones]
    with_audio = [(g.label, g.run_with_audio) for g in groups if g.run_with_audio]
    shown = [
        (label, run)
        for label, run in with_audio
        if any(row["id"] == segment.id for row in run.sentences)
    ]
    if not shown:
        return None
    figure = Figure(figsize=(10, 2.1 * len(shown)), layout="constrained")
    panels = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True))
    for axes, (label, run) in zip(panels, shown, strict=True):
        wav = run.folder / "synthesis" / "heldout" / f"{segment.id}.wav"
        waveform, _ = soundfile.read(wav, dtype="float32")
        _mel_and_f0(axes, waveform, f0)
        _phones(axes, phones, np.load(wav.with_suffix(".durations.npy")))
        axes.set_title(label, fontsize=9, loc="left", pad=14)
    panels[-1].set_xlabel("seconds")
    figure.suptitle(f"“{segment.text}”", fontsize=10)
    return figure


def _mel_and_f0(axes: Axes, waveform: np.ndarray, f0: F0Settings) -> None:
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
