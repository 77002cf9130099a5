"""Screening: drop the utterances whose recording cannot be what their text says."""

from pathlib import Path

import numpy as np

from audio.constants import SAMPLE_RATE
from audio.wav import read_wav
from pipeline.errors import FaultsError, RecipeError, UtteranceError
from pipeline.progress import progress
from preprocessing.corpus.metadata import Utterance
from preprocessing.corpus.recordings import Reasons
from preprocessing.settings import ScreeningSettings
from preprocessing.text.language import Language


def screen(
    utterances: list[Utterance], folder: Path, screening: ScreeningSettings, language: Language
) -> tuple[list[Utterance], Reasons]:
    """Split utterances into usable and unusable ones, and delete the wavs of the unusable ones.

    Args:
        utterances: with normalised texts.
        folder: the corpus folder; `wavs/<id>.wav` is an utterance's recording.
        screening: the section `screening` of the corpus's configuration.
        language: the corpus's language.

    Returns:
        The usable utterances, and the ids of the others with the reason.

    Raises:
        FaultsError: names the recordings that cannot be read.
    """
    kept, dropped, faults = [], [], []
    with progress("screening", max(len(utterances), 1)) as show:
        for done, utterance in enumerate(utterances, 1):
            try:
                waveform = read_wav(folder / "wavs" / f"{utterance.id}.wav")
            except UtteranceError as error:
                faults.append((utterance.id, str(error)))
                continue
            if reason := _unusable(utterance.text, waveform, screening, language):
                dropped.append((utterance.id, reason))
            else:
                kept.append(utterance)
            show(done)
    if faults:
        raise FaultsError("screening", faults, "Mend these recordings, or leave them out.")
    for id, _ in dropped:
        (folder / "wavs" / f"{id}.wav").unlink()
    return kept, dropped


def _unusable(
    text: str, waveform: np.ndarray, screening: ScreeningSettings, language: Language
) -> str | None:
    """Return why an utterance cannot be used, or None."""
    try:
        language.tokens(text)
    except RecipeError as error:
        return str(error)
    rms = float(np.sqrt(np.mean(np.square(waveform))))
    if rms < screening.lowest_rms:
        return f"is silent: its RMS is {rms:.5f} of full scale"
    slowest, fastest = screening.characters_per_second
    letters = sum(character.isalpha() for character in text)
    seconds = len(waveform) / SAMPLE_RATE
    if not slowest <= letters / seconds <= fastest:
        return f"cannot be its text: {letters} letters in {seconds:.2f} s"
    return None
