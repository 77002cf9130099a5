"""Stage 2: which phone is spoken when."""

from pipeline.lazy_imports import lazy_names

_HOMES = {"read_textgrid": "textgrid"}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
