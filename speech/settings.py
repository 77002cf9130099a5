"""Checks of the settings of stages 5 and 6 and of `make say`, made before anything is loaded."""

import math
from numbers import Real
from pathlib import Path

from omegaconf import DictConfig

from pipeline.errors import RecipeError
from pipeline.settings import real, whole

SETTINGS = {
    "trainer.threads": whole(1),
    "evaluation.clips_per_set": whole(1, nullable=True),
    "evaluation.recogniser.beam": whole(1),
    "evaluation.silence": real(0),
}
"""Rules of the numbers of stages 5 and 6."""


def check_say(config: DictConfig) -> None:
    """Raise a RecipeError that lists every wrong setting of `make say`."""
    wrong = [
        f"{name}={config[name]}: give a number above 0, such as 1.2"
        for name in ("speed", "pitch", "energy")
        if not _is_factor(config[name])
    ]
    if problem := _output_problem(str(config.output)):
        wrong.append(f"output={config.output}: {problem}")
    if wrong:
        raise RecipeError("\n".join(wrong))


def _is_factor(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < value < math.inf


def _output_problem(output: str) -> str:
    """Say why no audio file of 16 bit samples can be written there, or return nothing."""
    import soundfile

    path = Path(output)
    if path.is_dir():
        return "this is a folder; give the name of a file, such as say.wav"
    kind = path.suffix.removeprefix(".").upper()
    if kind not in soundfile.available_formats() or not soundfile.check_format(kind, "PCM_16"):
        return "give a file name that ends in .wav or .flac"
    return ""
