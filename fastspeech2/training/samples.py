"""Mels and audio of fixed sentences for the logger, as training goes on."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import torch
from torch import Tensor

from fastspeech2.synthesis.synthesiser import synthesiser_of
from fastspeech2.training.loggers import log_sample
from fastspeech2.training.monitoring import MetricsTable
from preprocessing.features.store import FeatureStore

SENTENCES = 2
"""Number of sentences, the first of the validation split."""


class Samples(lightning.Callback):
    """Writes mels and audio of two sentences a few times in a training.

    Their variance is not compensated, unlike stage 5's: measuring the compensation takes a pass
    over the whole validation split.

    Args:
        store: provides the sentences and the statistics.
        vocoder: from mels `[frames, mels]` to waveforms.
        times: number of times, at equal distances; the last is at the end of the training.
        table: comes before this callback in the trainer. The time that samples take does not count
            as training time.
        folder: for loggers that take neither images nor audio; see `log_sample`.
    """

    def __init__(
        self,
        store: FeatureStore,
        vocoder: Callable[[Sequence[Tensor]], list[Tensor]],
        times: int,
        table: MetricsTable,
        folder: Path,
    ):
        self.store, self.vocoder, self.times, self.table = store, vocoder, times, table
        self.folder = folder
        self._written = 0

    def state_dict(self) -> dict:
        return {"written": self._written}

    def load_state_dict(self, state: dict) -> None:
        self._written = state["written"]

    def on_validation_end(self, trainer, module) -> None:
        due = trainer.global_step * self.times // trainer.max_steps
        if due <= self._written:
            return
        self._written = due
        if not trainer.is_global_zero:
            return
        started = time.perf_counter()
        self._write(trainer, module.model)
        self.table.seconds -= time.perf_counter() - started

    @torch.inference_mode()
    def _write(self, trainer, model) -> None:
        training = model.training
        synthesiser = synthesiser_of(model, self.store, compensated=False)
        segments = [self.store.segment(i) for i in self.store.split("validation")[:SENTENCES]]
        for segment in segments:
            mel = synthesiser.synthesise([segment.phones])[0].mel.float().cpu()
            image = ((mel - mel.min()) / (mel.max() - mel.min())).T.flip(0)
            waveform = self.vocoder([mel])[0]
            for logger in trainer.loggers:
                log_sample(logger, segment.id, image, waveform, trainer.global_step, self.folder)
        model.train(training)
