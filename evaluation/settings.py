"""The sections of the configuration for measures and listening tests, and the whole of it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from audio.settings import F0Settings
from pipeline.settings import Count, NonNegative, Section, Text, Whole, added
from speech.settings import Port, SpeechSettings

TrialKind = Literal["preference", "rating", "best_worst", "mushra"]


class RecogniserSettings(Section):
    """Whisper."""

    package: Text | None
    model: Text
    compute_type: Text
    beam: Count


class EvaluationSettings(Section):
    """What stages 5 and 6 speak and measure."""

    name: Text
    sentences: Text | None
    clips_per_set: Count | None
    recogniser: RecogniserSettings | None
    silence: NonNegative
    f0: F0Settings
    pitch: bool = added(False)


class ListeningSettings(Section):
    """`make listening-test`, `make serve` and `make preferences`."""

    runs: Text
    sentences: Count
    kinds: Annotated[list[TrialKind], Field(min_length=1)]
    consent: Text
    questionnaire: list[dict[str, Any]]
    seed: Whole
    address: Text
    participant: Text
    completion: Text
    host: Text
    port: Port
    results: Text


class Settings(SpeechSettings):
    """The whole configuration."""

    evaluation: EvaluationSettings
    listening: ListeningSettings
