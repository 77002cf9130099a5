"""The sections of the configuration for speaking."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fastspeech2.settings import TrainingSettings
from pipeline.settings import Count, Positive, Section, Text


def _audio_file(value: str) -> str:
    """A file whose suffix names an audio format that stores 16 bit samples."""
    if Path(value).is_dir():
        raise ValueError(f"{value} is a folder, so give the name of a file, such as say.wav")
    kind = Path(value).suffix.removeprefix(".").upper()
    if kind != "WAV":  # nothing to import for the usual one
        import soundfile

        if kind not in soundfile.available_formats() or not soundfile.check_format(kind, "PCM_16"):
            raise ValueError(f"{value}: give a file name that ends in .wav or .flac")
    return value


def _prosody_file(value: str) -> str:
    """Empty, or a file whose suffix names a format of `speech.prosody`."""
    if value and Path(value).suffix not in (".json", ".csv"):
        raise ValueError(f"{value}: give a file name that ends in .json or .csv")
    return value


ProsodyFile = Annotated[Text, AfterValidator(_prosody_file)]


Port = Annotated[int, Field(ge=0, le=65535)]


class SaySettings(Section):
    """`make say`."""

    text: Text
    output: Annotated[Text, AfterValidator(_audio_file)]
    prosody: ProsodyFile
    dump: ProsodyFile
    speed: Positive
    pitch: Positive
    energy: Positive
    backend: Literal["torch", "onnx"]


class InferenceSettings(Section):
    """On what stages 5 and 6 run."""

    accelerator: Literal["cpu", "gpu", "mps"]
    threads: Count


class ApplicationSettings(Section):
    """`make app`."""

    voices: Text
    host: Text
    port: Port


class SpeechSettings(TrainingSettings):
    """The settings of stage 5 and `make say`."""

    system: Literal["model", "natural", "vocoded"]
    voice: Text
    say: SaySettings
    inference: InferenceSettings
    app: ApplicationSettings
