"""Intelligibility: what a speech recogniser makes of a clip, and its error rates."""

import logging
import re
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import jiwer
import numpy as np
from omegaconf import DictConfig

from pipeline.errors import RecipeError

RECOGNISER_RATE = 16_000
SYMBOLS = {"%": "percent", "$": "dollar", "£": "pound", "€": "euro", "¢": "cent"}
SYMBOLS |= {"+": "plus", "-": "minus"}
"""What Whisper's normaliser writes beside a number, and the word that was spoken."""


def packaged_model(package: str) -> Path:
    """The folder of a CTranslate2 model in an installed package, which is not imported.

    Raises:
        RecipeError: the package is not installed or holds no model.
    """
    try:
        found = [file for file in files(package) or [] if file.name == "model.bin"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise RecipeError(f"no recogniser in the package {package}: run `make setup`")
    return Path(found[0].locate()).parent


class Recogniser:
    """Whisper by faster-whisper: no timestamps, temperature 0, each clip by itself.

    Args:
        config: conf/evaluation/.
        threads: CPU threads.
        device: cpu or cuda.

    Raises:
        RecipeError: the model cannot be found, fetched or computed with here.
    """

    def __init__(self, config: DictConfig, threads: int, device: str):
        from faster_whisper import WhisperModel

        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        settings = config.recogniser
        model = str(packaged_model(settings.package)) if settings.package else settings.model
        try:
            self._model = WhisperModel(
                model, device=device, compute_type=settings.compute_type, cpu_threads=threads
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise RecipeError(
                f"the recogniser {settings.model} cannot be loaded on {device}: {error}. "
                "evaluation=whisper_tiny needs neither network nor GPU"
            ) from error
        self._beam = settings.beam
        self._silence = np.zeros(round(config.silence * RECOGNISER_RATE), np.float32)

    def transcribe(self, waveform: np.ndarray) -> str:
        """What is said in `[samples]` at 16,000 Hz."""
        segments, _ = self._model.transcribe(
            np.concatenate([self._silence, waveform, self._silence]),
            language="en",
            beam_size=self._beam,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text.strip() for segment in segments)


class ErrorRates:
    """Word and character error rates over sentences, of texts that are normalised alike.

    Normalisation is Whisper's for English, then without what punctuation is left, and with its
    "$5" as two words again, since neither may go unheard (of "one dollar" it leaves only one). It
    parts "re-record" into two words, so a hyphenated word counts as one where the other text writes
    it without the hyphen: that is spelling, which nobody hears. A sentence has at most as many
    errors as its reference has words (or characters), since a recogniser that invents text on noise
    would otherwise outweigh all other sentences.
    """

    @cached_property
    def _normaliser(self):
        from whisper_normalizer.english import EnglishTextNormalizer

        return EnglishTextNormalizer()

    def normalise(self, text: str) -> str:
        spelt = re.sub(
            r"[$£€¢+-](?=\d|one\b)|(?<=\d)%",
            lambda match: f" {SYMBOLS[match[0]]} ",
            self._normaliser(text),
        )
        kept = "".join(c if c.isalnum() or c in " '" else " " for c in spelt)
        return " ".join(kept.split())

    def errors(self, reference: str, hypothesis: str) -> dict[str, int]:
        """Errors and lengths of one sentence: words, word_errors, characters, character_errors.

        All are zero where normalisation leaves nothing of the reference, as of "Hmm."
        """
        reference, hypothesis = (
            self.normalise(_joined_like(reference, hypothesis)),
            self.normalise(_joined_like(hypothesis, reference)),
        )
        words = jiwer.process_words(reference, hypothesis)
        characters = jiwer.process_characters(reference, hypothesis)
        counts = {"words": len(reference.split()), "characters": len(reference)}
        for name, output, limit in (
            ("word_errors", words, counts["words"]),
            ("character_errors", characters, counts["characters"]),
        ):
            made = output.substitutions + output.deletions + output.insertions
            counts[name] = min(made, limit)
        return counts


def _joined_like(text: str, other: str) -> str:
    """`text`, its hyphenated words without hyphens where `other` has them so."""
    others = set(re.findall(r"\w+", other.lower()))

    def spelt(match: re.Match) -> str:
        joined = match[0].replace("-", "")
        return joined if joined.lower() in others else match[0]

    return re.sub(r"\w+(?:-\w+)+", spelt, text)


def rate(rows: Sequence[dict], errors: str, lengths: str) -> float | None:
    """Errors over lengths, both summed over sentences; None without any sentence."""
    total = sum(row[lengths] for row in rows)
    return sum(row[errors] for row in rows) / total if total else None
