"""FastSpeech2 (Ren et al. 2021), one code base for every published variant: see conf/model/."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fastspeech2.kernels.packing import Packing, pack_lengths, padding_mask, rearrange
from fastspeech2.model.layers import NORMS, Dropout, FFTBlock, Linear, Positions, TimeConv1d
from fastspeech2.model.variance import (
    BinnedEmbedding,
    ContinuousEmbedding,
    VariancePredictor,
    phone_of_frame,
    position_in_phone,
    regulate_length,
)
from pipeline.settings import chosen

POSITIONS = {"sinusoid": False, "scaled_sinusoid": True}
"""Whether they are scaled."""
Given = Tensor | Callable[[Tensor], Tensor] | None
"""What is embedded of a quantity: given values, a function of the prediction, or the prediction."""


@dataclass
class Encoding:
    """Hidden states of phones, and how long they last."""

    hidden: Tensor
    """packed, `[1, rows, channels]`"""
    packing: Packing
    """where the phones are among the rows"""
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
    """Predictions; `mel_postnet` is `mel` itself where the model has no postnet."""

    mel: Tensor
    """log-mel, `[batch, frames, mels]`"""
    mel_postnet: Tensor
    """log-mel, `[batch, frames, mels]`"""
    pitch: Tensor
    """normalised, `[batch, phones]`, or `[batch, frames]` where it is predicted per frame"""
    energy: Tensor
    """normalised, `[batch, phones]`, or `[batch, frames]` where it is predicted per frame"""
    log_duration: Tensor
    """log(frames + 1), `[batch, phones]`"""
    frame_lengths: Tensor
    """`[batch]`"""


class Postnet(nn.Module):
    """Convolutions with BatchNorm that refine a mel (Tacotron 2); tanh after all but the last."""

    def __init__(
        self, mels: int, layers: int, channels: int, kernel: int, dropout: float, bias: bool
    ):
        super().__init__()
        sizes = [mels] + [channels] * (layers - 1) + [mels]
        self.convolutions = nn.ModuleList(
            TimeConv1d(before, after, kernel, bias=bias)
            for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in sizes[1:])
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed `[1, rows, mels]` to the same."""
        x = x * packing.present
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = self._normalised(convolution(x), norm, packing)
            x = self.dropout(torch.tanh(x) if i + 1 < len(self.norms) else x)
        return x

    def _normalised(self, x: Tensor, norm: nn.BatchNorm1d, packing: Packing) -> Tensor:
        """Packed `[1, rows, channels]` to the same, zero in the gaps."""
        # As rows of channels: over `[batch, channels, frames]` the norm is ten times as slow.
        if not self.training:
            return norm(x.squeeze(0))[None] * packing.present
        rows, place = packing.present_rows  # without the gaps, which are in no recording
        return rearrange(norm(rearrange(x.squeeze(0), rows, place)), place, rows)[None]


class FastSpeech2(nn.Module):
    """Phones to log-mel.

    Args:
        config: a node of conf/model/. Without `bins` pitch and energy are embedded as continuous
            values, and without `cascaded` both are predicted from the encoder alone. With
            `mask_padding: false` evaluation, teacher-forced, computes the padding as well and sees
            it; else no utterance depends on what it is batched with. `frame_level`
            lists which of pitch and energy are predicted per frame rather than per phone, and
            `decoder_heads` and `decoder_dropout` are the decoder's where they differ.
        vocabulary: number of phone symbols; index 0 is padding.
        mels: mel bands.

    Raises:
        RecipeError: a setting names nothing that there is, or a kernel is even.
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
        # As ESPnet's reduction_factor: the decoder works on groups of neighbouring frames.
        self.group = config.reduction_factor
        self.merge = Linear(self.group * hidden, hidden) if self.group > 1 else None
        self.mel_output = Linear(hidden, self.group * mels)
        self.postnet = Postnet(mels, **config.postnet) if config.postnet else None
        kernels = [each.kernel_size[0] for each in self.modules() if isinstance(each, nn.Conv1d)]
        self.gap = max(kernels) // 2
        initialisations = {"torch": lambda: None, "xavier_uniform": self._xavier_uniform}
        chosen("model.initialisation", config.initialisation, initialisations)()

    def _xavier_uniform(self) -> None:
        """ESPnet's initialisation: matrices and kernels by Xavier, their biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @torch.no_grad()
    def init_output_bias(self, mel: Tensor) -> None:
        """Set the output's bias to the mean mel `[mels]`, which training need not find then."""
        self.mel_output.bias.copy_(mel.repeat(self.group))

    def set_bin_edges(self, pitch: Tensor, energy: Tensor) -> None:
        """Lay the bins, where the model has any, over normalised values of the training split."""
        for embedding, values in ((self.pitch_embedding, pitch), (self.energy_embedding, energy)):
            if isinstance(embedding, BinnedEmbedding):
                embedding.set_bin_edges(float(values.min()), float(values.max()))

    def encode(self, phones: Tensor, phone_lengths: Tensor, padded: bool = False) -> Encoding:
        """Encode `[batch, phones]` indices of `[batch]` lengths and predict durations.

        Args:
            padded: see `decode`.
        """
        size = phones.shape[1]
        packing = pack_lengths(phone_lengths, self.gap, size if padded else None)
        x = self.encoder_positions(self.embedding(packing.pack(phones)), packing.step)
        x = self.input_dropout(x)
        for block in self.encoder:
            x = block(x, packing)
        x = self.encoder_norm(x)
        log_duration = packing.unpack(self.duration_predictor(x, packing), size).squeeze(2)
        return Encoding(x, packing, padding_mask(phone_lengths, size), log_duration)

    def decode(
        self,
        encoding: Encoding,
        durations: Tensor,
        pitch: Given = None,
        energy: Given = None,
        frames: int | None = None,
        padded: bool = False,
    ) -> FastSpeech2Output:
        """Frames from phones with the given durations, pitch and energy.

        Args:
            durations: frames, `[batch, phones]`, zero in the padding.
            pitch, energy: normalised, `[batch, phones]`, or `[batch, frames]` where the model
                predicts them per frame; or a function that gives it from the prediction.
            frames: the longest utterance's, where known, which saves one wait for the device.
            padded: compute the padding as well, where convolutions see what those before them made
                of it; without it each utterance is as if it were alone, and its padding zero but
                for what fills up its last group of frames.
        """
        given = {"pitch": pitch, "energy": energy}
        lengths = durations.sum(1)
        frames = int(lengths.max()) if frames is None else frames
        groups = (frames + self.group - 1) // self.group
        packing = pack_lengths(
            (lengths + self.group - 1) // self.group, self.gap, groups if padded else None
        )
        frame_packing = packing.repeated(self.group, lengths)

        of_phones = {name: given[name] for name in given if name not in self.frame_level}
        size = durations.shape[1]
        x, predicted = self._add(encoding.hidden, encoding.packing, size, of_phones)
        index, ends = phone_of_frame(durations, groups * self.group)
        x = regulate_length(x, index, encoding.packing, frame_packing)
        if self.frame_level:
            of_frames = {name: given[name] for name in given if name in self.frame_level}
            x, more = self._add(x, frame_packing, frames, of_frames)
            predicted |= more
        if self.phone_position is not None:
            position = frame_packing.pack(position_in_phone(durations, index, ends))
            x = (x + self.phone_position(position)) * frame_packing.inside
        if self.merge is not None:
            x = self.merge(x.unflatten(1, (-1, self.group)).flatten(2))
        x = self.input_dropout(self.decoder_positions(x, packing.step)) * packing.inside
        for block in self.decoder:
            x = block(x, packing)
        mel = self.mel_output(self.decoder_norm(x))
        mel = mel.unflatten(2, (self.group, -1)).flatten(1, 2)
        if self.postnet is not None:
            refined = frame_packing.unpack(mel + self.postnet(mel, frame_packing), frames)
        mel = frame_packing.unpack(mel, frames)
        return FastSpeech2Output(
            mel,
            mel if self.postnet is None else refined,
            predicted["pitch"],
            predicted["energy"],
            encoding.log_duration,
            lengths,
        )

    def _add(
        self, x: Tensor, packing: Packing, size: int, given: dict[str, Given]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict and embed some of pitch and energy, over phones or frames.

        Returns:
            `x` `[1, rows, channels]` with the embeddings added, and predictions `[batch, size]` by
            name.
        """
        entering, predicted = x, {}
        for name, value in given.items():
            predictor = {"pitch": self.pitch_predictor, "energy": self.energy_predictor}[name]
            embedding = {"pitch": self.pitch_embedding, "energy": self.energy_embedding}[name]
            rows = predictor(x if self.cascaded else entering, packing)
            predicted[name] = packing.unpack(rows, size).squeeze(2)
            if value is None:
                value = predicted[name]
            elif not isinstance(value, Tensor):
                value = value(predicted[name])
            x = x + embedding(packing.pack(value))
        return x, predicted

    def forward(
        self,
        phones: Tensor,
        phone_lengths: Tensor,
        durations: Tensor | None = None,
        pitch: Tensor | None = None,
        energy: Tensor | None = None,
        frames: int | None = None,
    ) -> FastSpeech2Output:
        """Teacher-forced where durations (frames), pitch and energy are given, else predicted.

        Args:
            phones: indices `[batch, phones]`, 0 in the padding.
            phone_lengths: `[batch]`.
            durations, pitch, energy: `[batch, phones]`; pitch and energy normalised, and
                `[batch, frames]` where the model predicts them per frame.
            frames: longest utterance's frames, where known.
        """
        padded = not (self.training or self.mask_padding)
        encoding = self.encode(phones, phone_lengths, padded)
        if durations is None:
            durations = encoding.durations()
        return self.decode(encoding, durations, pitch, energy, frames, padded)


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
