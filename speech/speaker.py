"""Text of any length to one waveform."""

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
    """Speaks texts, sentence by sentence, so that none is longer than what the model learnt from.

    Args:
        synthesiser: phones to mels.
        vocoder: mels to waveforms.
        pronouncer: text to phones.
    """

    def __init__(self, synthesiser: Synthesiser, vocoder: Vocoder, pronouncer: Pronouncer):
        self.synthesiser, self.vocoder, self.pronouncer = synthesiser, vocoder, pronouncer

    def __call__(
        self, text: str, speed: float = 1.0, pitch: float = 1.0, energy: float = 1.0
    ) -> Tensor:
        """The waveform `[samples]` of a text, which may hold phones inline: `{HH AH0 L OW1}`.

        Args:
            speed: how many times as fast.
            pitch: multiplies F0.
            energy: multiplies energy.

        Raises:
            RecipeError: something in the text cannot be pronounced, or not by this model.
        """
        spoken_phones = [self.pronouncer.phones(sentence) for sentence in sentences(text)]
        utterances = [self.synthesiser.indices(phones) for phones in spoken_phones]
        pause = torch.zeros(round(PAUSE_SECONDS * SAMPLE_RATE / speed) if speed > 0 else 0)
        # One sentence at a time: memory stays small, and padding costs nothing.
        spoken = [self.synthesiser.synthesise([row], speed, pitch, energy)[0] for row in utterances]
        waveforms = self.vocoder([utterance.mel for utterance in spoken])
        pieces = [piece for waveform in waveforms for piece in (pause, waveform)]
        return torch.cat(pieces[1:])


def load_speaker(config) -> Speaker:
    """The speaker of a trained run, by `config.backend`.

    Args:
        config: the recipe's configuration.

    Raises:
        RecipeError: the run is not trained, not exported or exported with another vocoder, or the
            backend is unknown.
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
