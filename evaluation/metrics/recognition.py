"""Intelligibility: the transcript that a speech recogniser gives of a clip, and its errors."""

import logging
import re
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
"""Symbols that Whisper's normaliser writes beside numbers, and the words that were spoken."""


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


class ErrorRates:
    """Counts the word and character errors of a transcript against the text that was spoken.

    Both texts are normalised by Whisper's rules for English. Then the remaining punctuation is
    removed, and "$5", as Whisper writes five dollars, becomes two words again, so that a missing
    "dollars" counts as an error. (Of "one dollar" Whisper's rules leave only "one".)

    Whisper's rules split "re-record" into two words. Since a hyphen cannot be heard, a hyphenated
    word counts as one word where the other text writes it as one.

    A sentence's errors are capped at the number of words (or characters) of its reference.
    Otherwise a recogniser that invents text on noise would outweigh all other sentences.
    """

    @cached_property
    def _normaliser(self):
        from whisper_normalizer.english import EnglishTextNormalizer

        return EnglishTextNormalizer()

    def normalise(self, text: str) -> str:
        """The text as it is compared: lower-case words and numbers, separated by blanks."""
        spelt = re.sub(
            r"[$£€¢+-](?=\d|one\b)|(?<=\d)%",
            lambda match: f" {SYMBOLS[match[0]]} ",
            self._normaliser(text),
        )
        kept = "".join(c if c.isalnum() or c in " '" else " " for c in spelt)
        return " ".join(kept.split())

    def errors(self, reference: str, hypothesis: str) -> dict[str, int]:
        """Count words, word_errors, characters and character_errors of one sentence.

        All are zero where normalisation leaves nothing of the reference, as with "Hmm.", which is
        a filler word to Whisper.
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
    """Join the hyphenated words of `text` that `other` writes as one word."""
    others = set(re.findall(r"\w+", other.lower()))

    def spelt(match: re.Match) -> str:
        joined = match[0].replace("-", "")
        return joined if joined.lower() in others else match[0]

    return re.sub(r"\w+(?:-\w+)+", spelt, text)
