"""From text of any length to one waveform."""

import torch
from torch import Tensor

from audio.constants import SAMPLE_RATE
from fastspeech2.synthesis.synthesiser import Synthesis, Synthesiser
from hifigan.vocoder import Vocoder
from preprocessing.text.abbreviations import sentences
from preprocessing.text.pronouncer import Pronouncer

PAUSE_SECONDS = 0.3
"""Silence between two sentences at normal speed."""


class Speaker:
    """Speaks a text sentence by sentence, so that no input is much longer than those in training.

    Args:
        synthesiser: from phones to mels.
        vocoder: from mels to waveforms.
        pronouncer: from text to phones.
    """

    def __init__(self, synthesiser: Synthesiser, vocoder: Vocoder, pronouncer: Pronouncer):
        self.synthesiser, self.vocoder, self.pronouncer = synthesiser, vocoder, pronouncer

    def __call__(
        self, text: str, speed: float = 1.0, pitch: float = 1.0, energy: float = 1.0
    ) -> Tensor:
        """Speak a text, which may contain phones: `Say {HH AH0 L OW1}.`

        Args:
            text: of any length.
            speed: divides durations.
            pitch: multiplies F0.
            energy: multiplies energy.

        Returns:
            The waveform `[samples]` at 22,050 Hz.

        Raises:
            RecipeError: a word or character cannot be pronounced, the model does not know a phone,
                or a factor is not positive.
        """
        return self.speak(self.phones(text), speed, pitch, energy)[0]

    def phones(self, text: str) -> list[list[str]]:
        """The phones of each sentence of a text."""
        return [self.pronouncer.phones(sentence) for sentence in sentences(text)]

    def speak(
        self, phones: list[list[str]], speed: float = 1.0, pitch: float = 1.0, energy: float = 1.0
    ) -> tuple[Tensor, list[Synthesis]]:
        """Speak sentences of phones.

        Returns:
            The waveform `[samples]` at 22,050 Hz, and each sentence's mel and variances.
        """
        indices = [self.synthesiser.indices(row) for row in phones]
        # One sentence at a time keeps memory low and wastes nothing on padding.
        spoken = [self.synthesiser.synthesise([row], speed, pitch, energy)[0] for row in indices]
        pause = torch.zeros(round(PAUSE_SECONDS * SAMPLE_RATE / speed))
        waveforms = self.vocoder([utterance.mel for utterance in spoken])
        pieces = [piece for waveform in waveforms for piece in (pause, waveform)]
        return torch.cat(pieces[1:]), spoken
