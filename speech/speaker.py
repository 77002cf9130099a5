"""From text of any length to one waveform."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from audio.constants import FRAME_RATE, SAMPLE_RATE
from fastspeech2.synthesis.acoustic import AcousticModel
from fastspeech2.synthesis.synthesiser import Synthesis, Synthesiser
from hifigan.vocoder import Vocoder
from pipeline.errors import RecipeError
from preprocessing.text.abbreviations import sentences
from preprocessing.text.pronouncer import Pronouncer
from speech.prosody import SpokenPhone

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
        spoken = self.synthesise(phones, speed, pitch, energy)
        return self.vocode(spoken, speed), spoken

    def synthesise(
        self, phones: list[list[str]], speed: float = 1.0, pitch: float = 1.0, energy: float = 1.0
    ) -> list[Synthesis]:
        """The mels and variances of sentences of phones."""
        indices = [self.synthesiser.indices(row) for row in phones]
        # One sentence at a time keeps memory low and wastes nothing on padding.
        return [self.synthesiser.synthesise([row], speed, pitch, energy)[0] for row in indices]

    def vocode(self, spoken: Sequence[Synthesis], speed: float = 1.0) -> Tensor:
        """The waveform `[samples]` of sentences, with pauses between them."""
        pause = torch.zeros(round(PAUSE_SECONDS * SAMPLE_RATE / speed))
        waveforms = self.vocoder([utterance.mel for utterance in spoken])
        pieces = [piece for waveform in waveforms for piece in (pause, waveform)]
        return torch.cat(pieces[1:])

    def prosody(self, spoken: Sequence[Synthesis]) -> list[list[SpokenPhone]]:
        """The phones of sentences as they were spoken."""
        names = list(self.synthesiser.index)
        return [
            [
                SpokenPhone(names[phone], frames / FRAME_RATE, math.exp(log_f0), energy)
                for phone, frames, log_f0, energy in zip(
                    *(values.tolist() for values in (each.phones, each.durations)),
                    *(values.double().tolist() for values in (each.pitch, each.energy)),
                    strict=True,
                )
            ]
            for each in spoken
        ]

    @torch.inference_mode()
    def speak_given(self, given: Sequence[Sequence[SpokenPhone]]) -> list[Synthesis]:
        """The mels of sentences whose durations, F0 and energy are given.

        Raises:
            RecipeError: the model does not know a phone, a sentence has no frames, or the voice is
                an export to ONNX, which predicts them itself.
        """
        acoustic = self.synthesiser.acoustic
        if not isinstance(acoustic, AcousticModel):
            raise RecipeError("backend=onnx predicts the prosody itself: use backend=torch")
        spoken = []
        for number, sentence in enumerate(given, 1):
            phones = self.synthesiser.indices([each.phone for each in sentence])
            padding = [SpokenPhone("", 0.0, 1.0, 0.0)] * (len(phones) - len(sentence))
            rows = [*sentence, *padding]  # an end of sentence that was left out
            durations = torch.tensor([round(each.duration * FRAME_RATE) for each in rows])
            if not durations.any():
                raise RecipeError(f"sentence {number} has no phone of a whole frame (11.6 ms)")
            values = [[math.log(each.f0) for each in rows], [each.energy for each in rows]]
            pitch, energy = (torch.tensor(row, dtype=torch.float32) for row in values)
            result = acoustic.given(*(each[None] for each in (phones, durations, pitch, energy)))
            spoken.append(Synthesis(phones, *(each[0] for each in (
                result.mel, result.durations, result.pitch, result.energy))))  # fmt: skip
        return spoken
