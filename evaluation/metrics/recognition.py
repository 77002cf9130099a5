"""Speech recognition of synthesised clips."""

import logging
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np

from evaluation.settings import EvaluationSettings
from pipeline.errors import RecipeError

RECOGNISER_RATE = 16_000


def packaged_model(package: str) -> Path:
    """Find the folder of a CTranslate2 model in an installed package, without importing it.

    Raises:
        RecipeError: the package is not installed or contains no model.
    """
    try:
        found = [file for file in files(package) or [] if file.name == "model.bin"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise RecipeError(f"no recogniser in the package {package}: run `make setup`")
    return Path(found[0].locate()).parent


class Recogniser:
    """Whisper, run by faster-whisper without timestamps, at temperature 0, one clip at a time.

    Args:
        config: the section `evaluation` of the configuration.
        threads: number of CPU threads.
        device: cpu or cuda.

    Raises:
        RecipeError: the model cannot be found, downloaded or run on this machine.
    """

    def __init__(self, config: EvaluationSettings, threads: int, device: str):
        from faster_whisper import WhisperModel

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        settings = config.recogniser
        assert settings, "stage 6 makes no recogniser without its settings"
        model = str(packaged_model(settings.package)) if settings.package else settings.model
        try:
            self._model = WhisperModel(
                model, device=device, compute_type=settings.compute_type, cpu_threads=threads
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise RecipeError(
                f"the recogniser {settings.model} cannot be loaded on {device}: {error}. "
                "evaluation=whisper_tiny needs neither a network nor a GPU"
            ) from error
        self._beam = settings.beam
        self._silence = np.zeros(round(config.silence * RECOGNISER_RATE), np.float32)

    def transcribe(self, waveform: np.ndarray) -> str:
        """Transcribe `[samples]` at 16,000 Hz."""
        segments, _ = self._model.transcribe(
            np.concatenate([self._silence, waveform, self._silence]),
            language="en",
            beam_size=self._beam,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)
