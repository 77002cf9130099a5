"""HiFi-GAN (Kong et al. 2020, arXiv 2010.05646): from log-mel spectrograms to waveforms."""

from hifigan.checkpoint import load_generator
from hifigan.generator import Generator
from hifigan.vocoder import load_vocoder, vocode, vocoding_precision

__all__ = ["Generator", "load_generator", "load_vocoder", "vocode", "vocoding_precision"]
