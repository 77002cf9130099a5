"""FastSpeech 2 (Ren et al. 2021, arXiv 2006.04558): training, synthesis and published models."""

from importlib import import_module

_HOMES = {
    "FastSpeech2": "model.fastspeech2",
    "load_ming024": "ming024",
    "load_synthesiser": "synthesis.synthesiser",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    """Import a name when it is asked for, since torch takes seconds and not all need it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
