"""The sections of the configuration for FastSpeech2 and its training."""

import inspect
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from hifigan.settings import VocoderSettings
from pipeline.settings import (
    AsGiven,
    Count,
    Fraction,
    NonNegative,
    Positive,
    Section,
    Share,
    Target,
    Text,
    Whole,
    added,
    meant,
)

Cap = Annotated[float, Field(gt=0, le=1), AsGiven]
Scale = Annotated[float, Field(ge=1, allow_inf_nan=False), AsGiven]


class DropoutSettings(Section):
    """Probabilities of dropout."""

    input: Share
    attention: Share
    hidden: Share
    residual: Share


class ConvolutionSettings(Section):
    """The two convolutions of a feed-forward block."""

    channels: Count
    kernels: Annotated[list[Count], Field(min_length=2, max_length=2)]


class PredictorSettings(Section):
    """A predictor of duration, pitch or energy."""

    layers: Count
    channels: Count
    kernel: Count
    dropout: Share
    stop_gradient: bool


class PostnetSettings(Section):
    """Convolutions that refine the mel."""

    layers: Count
    channels: Count
    kernel: Count
    dropout: Share
    bias: bool
    norm: bool = added(True)


class EmbeddingSettings(Section):
    """The convolution that embeds continuous pitch or energy."""

    kernel: Count = 1
    dropout: Share = 0.0


class ModelSettings(Section):
    """FastSpeech2, see conf/model/."""

    name: Text
    hidden: Count
    heads: Count
    encoder_layers: Count
    decoder_layers: Count
    decoder_attention: bool
    decoder_heads: Count | None = added(None)
    norm: Literal["pre", "post"]
    decoder_norm: Literal["pre", "post"] | None = added(None)
    norm_eps: Positive = added(1e-5)
    ffn: ConvolutionSettings
    decoder_ffn: ConvolutionSettings | None = added(None)
    concatenate: bool = added(False)
    decoder_concatenate: bool | None = added(None)
    dropout: DropoutSettings
    decoder_dropout: DropoutSettings | None = added(None)
    positions: Literal["sinusoid", "scaled_sinusoid", "amplified"]
    float32_positions: bool = added(False)
    reduction_factor: Count
    phone_position: bool
    initialisation: Literal["torch", "xavier_uniform"]
    duration_predictor: PredictorSettings
    pitch_predictor: PredictorSettings
    energy_predictor: PredictorSettings
    pitch_embedding: EmbeddingSettings = added(EmbeddingSettings())
    energy_embedding: EmbeddingSettings = added(EmbeddingSettings())
    bins: Annotated[int, Field(ge=2)] | None = added(None)
    cascaded: bool = added(False)
    frame_level: list[Literal["pitch", "energy"]] = added([])
    mask_padding: bool = added(True)
    keep_padding: bool = added(False)
    shortest: Whole = added(1)
    eos: bool = added(False)
    normalised_mel: bool = added(False)
    postnet: PostnetSettings | None
    variance_compensation: bool


class DenseSettings(Section):
    """Every weight is trained."""

    kind: Literal["dense"]


class SparseSettings(Section):
    """What every sparse training has in common."""

    cap: Cap
    score: Literal["snip", "grasp", "magnitude", "random", "synflow"]
    scoring_batches: Count
    masks: Literal["exact", "paper"] = added("exact")
    allocation: Literal["global", "uniform", "erk"] = added("global")
    redistribute: bool = added(True)
    compat: Literal["reference"] | None = added(None)
    include: list[Text] = added([])
    exclude: list[Text] = added([])
    lr_scaling: Literal["per_tensor", "global", "none"]
    max_lr_scale: Scale
    regrowth: Literal["init", "zero"]
    min_density: Share = added(0)
    pattern: Text | None = added(None)
    groups: list[dict[str, Any]] = added([])
    strategy: Literal["rigl", "set"] | None = added(None)
    move_every: Count = added(100)
    move_until: Fraction = added(0.75)
    drop: Fraction = added(0.3)
    pruned: Literal["zero", "frozen", "trained"] = added("zero")
    shuffle: bool = added(False)
    return_order: Literal["highest_first", "highest_last"] = added("highest_first")

    @model_validator(mode="after")
    def _fitting(self) -> "SparseSettings":
        if self.allocation != "global" and (self.code or not self.redistribute):
            raise ValueError(
                f"allocation={self.allocation} needs redistribute=true, masks=exact, compat=null"
            )
        return self

    @property
    def code(self) -> str | None:
        """`reference` for masks of the paper's code, which `compat` also asks for."""
        return "reference" if self.masks == "paper" else self.compat


class ConstantSettings(SparseSettings):
    """The sparsity stays."""

    kind: Literal["constant"]
    start: Fraction


class DecayingSettings(SparseSettings):
    """The sparsity is halved at each switch, and zero after the last."""

    kind: Literal["decaying"]
    start: Fraction
    lowest: Positive
    first_switch: Fraction


class RisingSettings(SparseSettings):
    """The levels of `decaying` in reverse order."""

    kind: Literal["rising"]
    end: Fraction
    lowest: Positive
    first_switch: Fraction


class GradualSettings(SparseSettings):
    """Gradual magnitude pruning."""

    kind: Literal["gradual"]
    end: Fraction
    begin: Share
    finish: Share

    @model_validator(mode="after")
    def _ordered(self) -> "GradualSettings":
        if self.begin >= self.finish:
            raise ValueError(f"begin={self.begin} has to come before finish={self.finish}")
        return self


class AlternatingSettings(SparseSettings):
    """Dense and sparse phases in turn."""

    kind: Literal["alternating"]
    end: Fraction
    phase: Fraction
    until: Fraction


Sparsity = Annotated[
    DenseSettings
    | ConstantSettings
    | DecayingSettings
    | RisingSettings
    | GradualSettings
    | AlternatingSettings,
    Field(discriminator="kind"),
]


class OptimizerSettings(Target):
    """An optimizer and its arguments."""

    lr: NonNegative | None = None


class TrainerSettings(Section):
    """How a training runs. Further settings are arguments of Lightning's Trainer."""

    model_config = ConfigDict(extra="allow")
    accelerator: Literal["cpu", "gpu", "mps"]
    devices: Count
    threads: Count
    precision: Literal["auto", "32-true", "bf16-mixed"]
    updates: Count
    val_every: Count
    frames_per_batch: Count
    accumulate: Count
    optimizer: OptimizerSettings
    schedule: Target
    gradient_clip: NonNegative | None
    init_from: Text | None = added(None)
    init_statistics: Literal["recomputed", "taken"] = added("recomputed")
    espnet_bins: Count | None = added(None)
    compile: bool = added(False)
    workers: Whole
    callbacks: list[Target] = added([])

    @model_validator(mode="after")
    def _of_lightning(self) -> "TrainerSettings":
        if self.model_extra:
            from lightning import Trainer  # takes seconds

            from pipeline.lightning_setup import OURS

            taken = inspect.signature(Trainer).parameters.keys() - OURS.keys()
            problems = []
            for name in self.model_extra:
                if name in OURS:
                    problems.append(f"{name}: set {OURS[name]} instead")
                elif name not in taken:
                    near = meant(name, [*taken, *type(self).model_fields])
                    problems.append(f"neither this recipe nor Lightning's Trainer has {name}{near}")
            if problems:
                raise ValueError("; ".join(problems))
        return self

    def options(self) -> dict[str, Any]:
        """Further arguments of Lightning's Trainer."""
        return dict(self.model_extra or {})


class LastSelection(Section):
    """Choose the last weights."""

    criterion: Literal["last"]
    average: Count


class LossSelection(Section):
    """Choose the weights with the lowest validation loss."""

    criterion: Literal["loss"]
    component: Literal["total", "mel"]
    average: Count


class MCDSelection(Section):
    """Choose the weights with the lowest mel-cepstral distortion."""

    criterion: Literal["mcd"]
    utterances: Count
    times: Count
    average: Count


Selection = Annotated[
    LastSelection | LossSelection | MCDSelection, Field(discriminator="criterion")
]


class TrainingSettings(VocoderSettings):
    """The settings of a training."""

    model: ModelSettings
    sparsity: Sparsity
    trainer: TrainerSettings
    selection: Selection
    nonfinite: Literal["stop", "skip"]
    kernels: Literal["fast", "plain"]
    samples: Whole
    logger: Annotated[Target | None, BeforeValidator(lambda given: given or None)]

    @model_validator(mode="after")
    def _traceable(self) -> "TrainingSettings":
        if self.trainer.compile and self.kernels != "plain":
            raise ValueError(
                "trainer.compile=true: torch.compile cannot trace fast kernels: set kernels=plain"
            )
        return self
