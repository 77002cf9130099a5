"""From text to a waveform, with torch or, after an export, with ONNX Runtime."""

from pipeline.lazy_imports import lazy_names

_HOMES = {"load_voice": "voice"}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
