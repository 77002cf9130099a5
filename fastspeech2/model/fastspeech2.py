"""FastSpeech 2 (Ren et al. 2021): one network for every published variant, see conf/model/."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastspeech2.model.layers import NORMS, Dropout, FFTBlock, Linear, Positions
from fastspeech2.model.postnet import Postnet
from fastspeech2.model.variance import BinnedEmbedding, ContinuousEmbedding, VariancePredictor
from fastspeech2.packing import (
    FramePlan,
    Packing,
    PhonePlan,
    Plan,
    moved,
    padding_mask,
    plan_frames,
    plan_phones,
)
from pipeline.settings import chosen

POSITIONS = {"sinusoid": False, "scaled_sinusoid": True}
"""Whether a learnt factor scales the positions."""
Given = Tensor | Callable[[Tensor], Tensor] | None
"""Pitch or energy to embed: values, a function of the predicted values, or None for these."""


@dataclass
class Encoding:
    """Hidden states of phones, and how long the phones last."""

    hidden: Tensor
    """packed, `[1, rows, channels]`"""
    plan: PhonePlan
    """where the phones lie among the rows"""
    mask: Tensor
    """`[batch, phones]`, True inside the utterance"""
    log_duration: Tensor
    """log(frames + 1), `[batch, phones]`"""

    def durations(self, speed: Tensor | float = 1.0) -> Tensor:
        """Predicted frames of each phone, `[batch, phones]`, at least one; `speed` divides them."""
        frames = (self.log_duration.float().exp() - 1.0) / speed
        return frames.round().clamp(min=1).long() * self.mask


@dataclass
class FastSpeech2Output:
    """Predictions. `mel_postnet` is `mel` itself if the model has no postnet."""

    mel: Tensor
    """log-mel, `[batch, frames, mels]`"""
    mel_postnet: Tensor
    """log-mel, `[batch, frames, mels]`"""
    pitch: Tensor
    """normalised, `[batch, phones]`, or `[batch, frames]` if it is predicted per frame"""
    energy: Tensor
    """normalised, `[batch, phones]`, or `[batch, frames]` if it is predicted per frame"""
    log_duration: Tensor
    """log(frames + 1), `[batch, phones]`"""
    frame_lengths: Tensor
    """`[batch]`"""


class FastSpeech2(nn.Module):
    """Phones to log-mel.

    Args:
        config: a node of conf/model/. Pitch and energy are embedded as continuous values unless
            `bins` is given, and both are predicted from the encoder's output unless `cascaded`
            makes the energy predictor see the embedded pitch. `frame_level` lists which of pitch
            and energy are predicted per frame rather than per phone. `decoder_heads` and
            `decoder_dropout` override the encoder's values. With `mask_padding: false`,
            teacher-forced evaluation computes the padding too, so that results depend on the batch
            as in ming024/FastSpeech2; otherwise no utterance depends on its batch.
        vocabulary: number of phone symbols; index 0 is padding.
        mels: number of mel bands.

    Raises:
        RecipeError: a setting has an unknown value, or a kernel size is even.
    """

    def __init__(self, config, vocabulary: int, mels: int = 80):
        super().__init__()
        hidden = config.hidden
        scaled = chosen("model.positions", config.positions, POSITIONS)
        self.embedding = nn.Embedding(vocabulary, hidden, padding_idx=0)
        self.encoder_positions = Positions(hidden, scaled)
        self.decoder_positions = Positions(hidden, scaled)
        self.input_dropout = Dropout(config.dropout.input)
        self.encoder = _blocks(config, config.encoder_layers, config.heads, config.dropout, True)
        self.decoder = _blocks(
            config,
            config.decoder_layers,
            config.get("decoder_heads", config.heads),
            config.get("decoder_dropout", config.dropout),
            config.decoder_attention,
        )
        pre = chosen("model.norm", config.norm, NORMS)
        self.encoder_norm = nn.LayerNorm(hidden) if pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(hidden) if pre else nn.Identity()
        self.duration_predictor = VariancePredictor(hidden, **config.duration_predictor)
        self.pitch_predictor = VariancePredictor(hidden, **config.pitch_predictor)
        self.energy_predictor = VariancePredictor(hidden, **config.energy_predictor)
        self.pitch_embedding = _value_embedding(config)
        self.energy_embedding = _value_embedding(config)
        self.cascaded = config.get("cascaded", False)
        self.mask_padding = config.get("mask_padding", True)
        self.frame_level = tuple(config.get("frame_level", ()))
        self.phone_position = Linear(3, hidden) if config.phone_position else None
        # The decoder works on groups of neighbouring frames, as ESPnet's reduction_factor groups
        # the frames that its decoder predicts.
        self.reduction_factor = config.reduction_factor
        grouped = self.reduction_factor * hidden
        self.merge = Linear(grouped, hidden) if self.reduction_factor > 1 else None
        self.mel_output = Linear(hidden, self.reduction_factor * mels)
        self.postnet = Postnet(mels, **config.postnet) if config.postnet else None
        kernels = [each.kernel_size[0] for each in self.modules() if isinstance(each, nn.Conv1d)]
        self.gap = max(kernels) // 2
        initialisations = {"torch": lambda: None, "xavier_uniform": self._xavier_uniform}
        chosen("model.initialisation", config.initialisation, initialisations)()

    def _xavier_uniform(self) -> None:
        """Initialise matrices and kernels by Xavier and their biases with zero, as ESPnet does."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @torch.no_grad()
    def init_output_bias(self, mel: Tensor) -> None:
        """Set the bias of the output to the mean mel `[mels]`, so that training starts there."""
        self.mel_output.bias.copy_(mel.repeat(self.reduction_factor))

    def set_bin_edges(self, pitch: Tensor, energy: Tensor) -> None:
        """Spread the bins, if the model has any, over normalised values of the training split."""
        for embedding, values in ((self.pitch_embedding, pitch), (self.energy_embedding, energy)):
            if isinstance(embedding, BinnedEmbedding):
                embedding.set_bin_edges(float(values.min()), float(values.max()))

    # ---- the layout of a batch, planned on the CPU

    def plan(self, phone_lengths: Tensor, durations: Tensor, padded: bool = False) -> Plan:
        """Plan the layout of a teacher-forced batch; the plan is on the CPU.

        Args:
            phone_lengths: `[batch]`.
            durations: frames, `[batch, phones]`, zero in the padding.
            padded: compute the padding too; see `mask_padding`.
        """
        phones = self._plan_phones(phone_lengths, durations.shape[1], padded)
        return Plan(phones, self._plan_frames(phones.packing, durations, padded))

    def _plan_phones(self, lengths: Tensor, size: int, padded: bool = False) -> PhonePlan:
        return plan_phones(lengths, size, self.gap, self.embedding.weight.device, padded)

    def _plan_frames(self, phones: Packing, durations: Tensor, padded: bool = False) -> FramePlan:
        device = self.embedding.weight.device
        return plan_frames(phones, durations, self.reduction_factor, self.gap, device, padded)

    # ---- the network

    def forward(
        self,
        phones: Tensor,
        phone_lengths: Tensor,
        durations: Tensor | None = None,
        pitch: Tensor | None = None,
        energy: Tensor | None = None,
        plan: Plan | None = None,
    ) -> FastSpeech2Output:
        """Predict mels, teacher-forced by the durations, pitch and energy that are given.

        Args:
            phones: indices `[batch, phones]`, 0 in the padding.
            phone_lengths: `[batch]`.
            durations, pitch, energy: `[batch, phones]`; durations in frames, pitch and energy
                normalised, and `[batch, frames]` if the model predicts them per frame.
            plan: of these durations, made by `plan` and moved to the model's device. Without it the
                batch is planned here, which reads lengths back from the device.
        """
        if plan is not None:
            encoding = self.encode(phones, phone_lengths, plan.phones)
            return self.decode_planned(encoding, plan.frames, pitch, energy)
        padded = not (self.training or self.mask_padding)
        phone_plan = self._plan_phones(phone_lengths, phones.shape[1], padded)
        encoding = self.encode(phones, phone_lengths, moved(phone_plan, phones.device))
        durations = encoding.durations() if durations is None else durations
        frame_plan = self._plan_frames(phone_plan.packing, durations, padded)
        return self.decode_planned(encoding, moved(frame_plan, phones.device), pitch, energy)

    def encode(
        self, phones: Tensor, phone_lengths: Tensor, plan: PhonePlan | None = None
    ) -> Encoding:
        """Encode `[batch, phones]` indices of `[batch]` lengths, and predict durations."""
        size = phones.shape[1]
        plan = plan or moved(self._plan_phones(phone_lengths, size), phones.device)
        packing = plan.packing
        x = self.encoder_positions(self.embedding(packing.pack(phones)), packing)
        x = self.input_dropout(x)
        for block in self.encoder:
            x = block(x, packing, plan.attention)
        x = self.encoder_norm(x)
        log_duration = packing.unpack(self.duration_predictor(x, packing), size).squeeze(2)
        return Encoding(x, plan, padding_mask(phone_lengths, size), log_duration)

    def decode(
        self, encoding: Encoding, durations: Tensor, pitch: Given = None, energy: Given = None
    ) -> FastSpeech2Output:
        """Decode phones that last so many frames, `[batch, phones]`; see `decode_planned`."""
        plan = self._plan_frames(encoding.plan.packing, durations)
        return self.decode_planned(encoding, moved(plan, durations.device), pitch, energy)

    def decode_planned(
        self, encoding: Encoding, plan: FramePlan, pitch: Given = None, energy: Given = None
    ) -> FastSpeech2Output:
        """Decode phones to frames with the planned durations.

        Args:
            pitch, energy: normalised, `[batch, phones]`, or `[batch, frames]` if the model
                predicts them per frame; or a function that computes them from the prediction.
        """
        given = {"pitch": pitch, "energy": energy}
        phone_level = {name: given[name] for name in given if name not in self.frame_level}
        frame_level = {name: given[name] for name in given if name in self.frame_level}

        phones = encoding.plan.packing
        x, predicted = self._add_variances(
            encoding.hidden, phones, encoding.mask.shape[1], phone_level
        )
        x = x.index_select(1, plan.phone_row) * plan.packing.inside  # length regulation
        if frame_level:
            x, more = self._add_variances(x, plan.packing, plan.frames, frame_level)
            predicted |= more
        if self.phone_position is not None:
            x = (x + self.phone_position(plan.phone_position)) * plan.packing.inside
        if self.merge is not None:
            x = self.merge(x.unflatten(1, (-1, self.reduction_factor)).flatten(2))

        x = self.input_dropout(self.decoder_positions(x, plan.groups)) * plan.groups.inside
        for block in self.decoder:
            x = block(x, plan.groups, plan.attention)
        mel = self.mel_output(self.decoder_norm(x))
        mel = mel.unflatten(2, (self.reduction_factor, -1)).flatten(1, 2)

        refined = None
        if self.postnet is not None:
            refined = plan.packing.unpack(mel + self.postnet(mel, plan), plan.frames)
        mel = plan.packing.unpack(mel, plan.frames)
        return FastSpeech2Output(
            mel=mel,
            mel_postnet=mel if refined is None else refined,
            pitch=predicted["pitch"],
            energy=predicted["energy"],
            log_duration=encoding.log_duration,
            frame_lengths=plan.lengths,
        )

    def _add_variances(
        self, x: Tensor, packing: Packing, size: int | Tensor, given: dict[str, Given]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict and embed pitch, energy or both, over phones or over frames.

        Returns:
            `x` `[1, rows, channels]` with the embeddings added, and the predictions `[batch, size]`
            by name.
        """
        hidden, predicted = x, {}
        for name, value in given.items():
            predictor = {"pitch": self.pitch_predictor, "energy": self.energy_predictor}[name]
            embedding = {"pitch": self.pitch_embedding, "energy": self.energy_embedding}[name]
            rows = predictor(x if self.cascaded else hidden, packing)
            predicted[name] = packing.unpack(rows, size).squeeze(2)
            if value is None:
                value = predicted[name]
            elif not isinstance(value, Tensor):
                value = value(predicted[name])
            x = x + embedding(packing.pack(value))
        return x, predicted


def _blocks(config, layers: int, heads: int, dropout, attention: bool) -> nn.ModuleList:
    return nn.ModuleList(
        FFTBlock(
            config.hidden,
            heads,
            config.ffn.channels,
            tuple(config.ffn.kernels),
            dropout,
            config.norm,
            attention,
        )
        for _ in range(layers)
    )


def _value_embedding(config) -> nn.Module:
    bins = config.get("bins")
    return BinnedEmbedding(bins, config.hidden) if bins else ContinuousEmbedding(config.hidden)
