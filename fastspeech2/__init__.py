"""FastSpeech 2 (Ren et al. 2021, arXiv 2006.04558): training, synthesis and published models."""

from pipeline.lazy_imports import lazy_names

_HOMES = {
    "FastSpeech2": "model.fastspeech2",
    "load_espnet": "espnet",
    "load_ming024": "ming024",
    "load_synthesiser": "synthesis.synthesiser",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
