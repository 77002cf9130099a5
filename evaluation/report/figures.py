"""Writes all figures over runs."""

from pathlib import Path

from matplotlib.figure import Figure

from audio.settings import F0Settings
from evaluation.report import speech_figures, training_figures
from evaluation.report.collect import Group, is_recognised
from pipeline.files import atomic_path
from preprocessing.features.store import FeatureStore


def _save(figure: Figure, path: Path) -> None:
    # Without the library's version in its metadata, the same data give the same bytes.
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})


def write_figures(
    groups: list[Group], store: FeatureStore | None, f0: F0Settings, folder: Path
) -> dict[str, Path]:
    """Write the figures as PNG and return their paths by caption.

    Args:
        groups: the systems.
        store: the recordings' features, for the figure of a sentence; None leaves it out.
        f0: how F0 is estimated, `evaluation.f0`.
        folder: where the files go.
    """
    trained = [group for group in groups if group.training]
    figures: dict[str, tuple[str, Figure]] = {}
    if trained:
        caption = "Validation losses during training: means, and bands from lowest to highest seed"
        figures[caption] = ("losses.png", training_figures.losses(trained))
        figures["Sparsity during training"] = ("sparsity.png", training_figures.sparsity(trained))
    if found := training_figures.masks(trained):
        figure, label = found
        caption = f"Part of one matrix's mask at 40 % and after its reduction to 20 %, in {label}"
        figures[caption] = ("masks.png", figure)
    if figure := training_figures.layers(trained):
        figures["Sparsity of each tensor at each system's highest level"] = ("layers.png", figure)
    if is_recognised(groups):
        caption = "Word error rate by length of the ground truth, all seeds pooled"
        figures[caption] = ("wer_by_length.png", speech_figures.errors_by_length(groups))
    if store and (figure := speech_figures.sentence(groups, store, f0)):
        caption = "Mel, phones (on top) and F0 (line) of one held-out sentence in each system"
        figures[caption] = ("sentence.png", figure)
    for name, figure in figures.values():
        _save(figure, folder / name)
    return {caption: folder / name for caption, (name, _) in figures.items()}
