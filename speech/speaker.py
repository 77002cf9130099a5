"""From text of any length to one waveform."""

from pathlib import Path

import torch
from torch import Tensor

from audio.constants import SAMPLE_RATE
from fastspeech2.synthesis.synthesiser import Synthesiser, load_synthesiser
from hifigan.vocoder import Vocoder, load_vocoder
from pipeline.settings import check_choice
from preprocessing.text.english import sentences
from preprocessing.text.language import corpus_language
from preprocessing.text.lexicon import read_lexicon
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
        phones = [self.pronouncer.phones(sentence) for sentence in sentences(text)]
        indices = [self.synthesiser.indices(row) for row in phones]
        # One sentence at a time keeps memory low and wastes nothing on padding.
        spoken = [self.synthesiser.synthesise([row], speed, pitch, energy)[0] for row in indices]
        pause = torch.zeros(round(PAUSE_SECONDS * SAMPLE_RATE / speed))
        waveforms = self.vocoder([utterance.mel for utterance in spoken])
        pieces = [piece for waveform in waveforms for piece in (pause, waveform)]
        return torch.cat(pieces[1:])


def load_speaker(config) -> Speaker:
    """Load a trained run with torch, or its export with ONNX Runtime, by `config.backend`.

    Raises:
        RecipeError: the backend is unknown, the run is not trained or not exported, or it was
            exported with another vocoder.
    """
    check_choice("backend", config.backend, ("torch", "onnx"))
    if config.backend == "torch":
        synthesiser = load_synthesiser(config.paths.run)
        vocoder = load_vocoder(config.vocoder)
    else:
        from speech.onnx_models import load_onnx

        synthesiser, vocoder = load_onnx(config.paths.run, config.vocoder.name)
    lexicon = read_lexicon(Path(config.paths.alignments) / "lexicon.txt")
    pronouncer = Pronouncer(lexicon, synthesiser.index, corpus_language(config.corpus))
    return Speaker(synthesiser, vocoder, pronouncer)
