"""The sections of the configuration for the vocoder and its fine-tuning."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings import Count, NonNegative, Positive, Section, Share, Text, Whole
from preprocessing.settings import PreprocessingSettings


class HifiganSettings(Section):
    """HiFi-GAN, from files or an installed package."""

    name: Text
    kind: Literal["hifigan"]
    folder: Text | None = None
    checkpoint: Text
    config: Text
    sha256: Text | None
    precision: Literal["auto", "bf16", "32", 32]
    frames_per_batch: Whole


class GriffinLimSettings(Section):
    """Griffin-Lim phase reconstruction."""

    name: Text
    kind: Literal["griffin_lim"]
    iterations: Count


class FineTuningSettings(Section):
    """`make finetune`."""

    mels: Text | None
    discriminators: Text | None
    updates: Count
    warmup: Whole
    val_every: Count
    validation_clips: Count
    heldout_clips: Count | None
    batch: Count
    segment: Annotated[int, Field(ge=1024, multiple_of=256)]
    learning_rate: NonNegative
    discriminator_learning_rate: NonNegative
    betas: Annotated[list[Share], Field(min_length=2, max_length=2)]
    decay: Positive
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    threads: Count | None


Vocoder = Annotated[HifiganSettings | GriffinLimSettings, Field(discriminator="kind")]


class VocoderSettings(PreprocessingSettings):
    """The settings of a vocoder and its fine-tuning."""

    vocoder: Vocoder
    finetuning: FineTuningSettings
