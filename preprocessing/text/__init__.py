"""From written text to phones."""

from pipeline.lazy_imports import lazy_names

_HOMES = {
    "Pronouncer": "pronouncer",
    "corpus_language": "language",
    "normalise": "english",
    "pronunciations": "pronunciation",
    "read_lexicon": "lexicon",
    "sentences": "abbreviations",
    "tokens": "english",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
