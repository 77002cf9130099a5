"""HiFi-GAN (Kong et al. 2020, arXiv 2010.05646): from log-mel spectrograms to waveforms."""

from pipeline.lazy_imports import lazy_names

_HOMES = {
    "Generator": "generator",
    "load_generator": "checkpoint",
    "load_vocoder": "vocoder",
    "vocode": "vocoder",
    "vocoding_precision": "vocoder",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
