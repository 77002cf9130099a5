"""Rules for the settings of stages 5 and 6 and of `make say`, checked before anything is loaded."""

import math
from numbers import Real
from pathlib import Path
from typing import Any

from pipeline.settings import real, whole
from speech.prosody import suffix_rule


def _factor(value: Any) -> str:
    """The rule of a positive, finite number."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    return "" if number and 0 < value < math.inf else "give a number above 0, such as 1.2"


def _audio_file(value: Any) -> str:
    """The rule of a file whose suffix names an audio format that stores 16 bit samples."""
    import soundfile

    path = Path(str(value))
    if path.is_dir():
        return "this is a folder, so give the name of a file, such as say.wav"
    kind = path.suffix.removeprefix(".").upper()
    if kind in soundfile.available_formats() and soundfile.check_format(kind, "PCM_16"):
        return ""
    return "give a file name that ends in .wav or .flac"


SETTINGS = {
    "trainer.threads": whole(1),
    "evaluation.clips_per_set": whole(1, nullable=True),
    "evaluation.recogniser.beam": whole(1),
    "evaluation.silence": real(0),
}
"""Rules of the numbers of stages 5 and 6."""
SAY_SETTINGS = {
    **{name: _factor for name in ("speed", "pitch", "energy")},
    "output": _audio_file,
    "dump": suffix_rule,
    "prosody": suffix_rule,
}
"""Rules of the settings of `make say`."""
