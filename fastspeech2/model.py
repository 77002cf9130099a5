"""FastSpeech2 (Ren et al. 2021), one code base for every published variant: see conf/model/."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .layers import FFTBlock, Linear, Positions, TimeConv1d, padding_mask
from .variance import (
    ContinuousEmbedding,
    VariancePredictor,
    phone_of_frame,
    position_in_phone,
    regulate_length,
)


@dataclass
class Variances:
    """What is predicted per phone, and the phones' hidden states that it was predicted from."""

    hidden: Tensor
    """`[batch, phones, channels]`"""
    mask: Tensor
    """`[batch, phones]`, True inside the utterance"""
    log_duration: Tensor
    """log(frames + 1), `[batch, phones]`"""
    pitch: Tensor
    """normalised log-F0, `[batch, phones]`"""
    energy: Tensor
    """normalised energy, `[batch, phones]`"""

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
    """normalised, `[batch, phones]`"""
    energy: Tensor
    """normalised, `[batch, phones]`"""
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
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = norm(convolution(x).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(torch.tanh(x) if i + 1 < len(self.norms) else x)
        return x


class FastSpeech2(nn.Module):
    """Phones to log-mel.

    Args:
        config: a node of conf/model/.
        vocabulary: number of phone symbols; index 0 is padding.
        mels: mel bands.
    """

    def __init__(self, config, vocabulary: int, mels: int = 80):
        super().__init__()
        hidden = config.hidden
        scaled = config.positions == "scaled_sinusoid"
        self.embedding = nn.Embedding(vocabulary, hidden, padding_idx=0)
        self.encoder_positions = Positions(hidden, scaled)
        self.decoder_positions = Positions(hidden, scaled)
        self.input_dropout = nn.Dropout(config.dropout)
        self.encoder = self._blocks(config, config.encoder_layers, True)
        self.decoder = self._blocks(config, config.decoder_layers, config.decoder_attention)
        pre = config.norm == "pre"
        self.encoder_norm = nn.LayerNorm(hidden) if pre else nn.Identity()
        self.decoder_norm = nn.LayerNorm(hidden) if pre else nn.Identity()
        self.duration_predictor = VariancePredictor(hidden, **config.duration_predictor)
        self.pitch_predictor = VariancePredictor(hidden, **config.pitch_predictor)
        self.energy_predictor = VariancePredictor(hidden, **config.energy_predictor)
        self.pitch_embedding = ContinuousEmbedding(hidden)
        self.energy_embedding = ContinuousEmbedding(hidden)
        self.phone_position = Linear(3, hidden) if config.phone_position else None
        # As ESPnet's reduction_factor: the decoder works on groups of neighbouring frames.
        self.group = config.reduction_factor
        self.merge = Linear(self.group * hidden, hidden) if self.group > 1 else None
        self.mel_output = Linear(hidden, self.group * mels)
        self.postnet = Postnet(mels, **config.postnet) if config.postnet else None
        if config.initialisation == "xavier_uniform":
            self._xavier_uniform()

    @staticmethod
    def _blocks(config, layers: int, attention: bool) -> nn.ModuleList:
        return nn.ModuleList(
            FFTBlock(
                config.hidden,
                config.heads,
                config.ffn.channels,
                tuple(config.ffn.kernels),
                config.dropout,
                config.norm,
                attention,
            )
            for _ in range(layers)
        )

    def _xavier_uniform(self) -> None:
        """ESPnet's initialisation: matrices and kernels by Xavier, their biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @torch.no_grad()
    def start_at_mean(self, mel: Tensor) -> None:
        """Set the output's bias to the mean mel `[mels]`, which training need not find then."""
        self.mel_output.bias.copy_(mel.repeat(self.group))

    def predict_variances(self, phones: Tensor, phone_lengths: Tensor) -> Variances:
        """Encode `[batch, phones]` indices of `[batch]` lengths and predict what is per phone."""
        mask = padding_mask(phone_lengths, phones.shape[1])
        x = self.input_dropout(self.encoder_positions(self.embedding(phones)))
        for block in self.encoder:
            x = block(x, mask)
        x = self.encoder_norm(x)
        return Variances(
            hidden=x,
            mask=mask,
            log_duration=self.duration_predictor(x, mask),
            pitch=self.pitch_predictor(x, mask),
            energy=self.energy_predictor(x, mask),
        )

    def decode(
        self,
        variances: Variances,
        durations: Tensor,
        pitch: Tensor,
        energy: Tensor,
        frames: int | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Frames from phones with the given durations, pitch and energy, all `[batch, phones]`.

        Args:
            frames: the longest utterance's, where known, which saves waiting for the device.

        Returns:
            `mel` and `mel_postnet` `[batch, frames, mels]`, and lengths `[batch]` in frames.
        """
        lengths = durations.sum(1)
        frames = int(lengths.max()) if frames is None else frames
        groups = -(-frames // self.group)
        mask = padding_mask(-(-lengths // self.group), groups)
        x = variances.hidden + self.pitch_embedding(pitch) + self.energy_embedding(energy)
        index, ends = phone_of_frame(durations, groups * self.group)
        x = regulate_length(x, index)
        if self.phone_position is not None:
            x = x + self.phone_position(position_in_phone(durations, index, ends))
        if self.merge is not None:
            x = x * padding_mask(lengths, groups * self.group)[:, :, None]
            x = self.merge(x.reshape(len(x), groups, -1))
        x = self.input_dropout(self.decoder_positions(x)) * mask[:, :, None]
        for block in self.decoder:
            x = block(x, mask)
        mel = self.mel_output(self.decoder_norm(x))
        mel = mel.reshape(len(mel), groups * self.group, -1)[:, :frames]
        return mel, mel if self.postnet is None else mel + self.postnet(mel), lengths

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
            durations, pitch, energy: `[batch, phones]`; pitch and energy normalised.
            frames: longest utterance's frames, where known.
        """
        variances = self.predict_variances(phones, phone_lengths)
        mel, mel_postnet, lengths = self.decode(
            variances,
            variances.durations() if durations is None else durations,
            variances.pitch if pitch is None else pitch,
            variances.energy if energy is None else energy,
            frames,
        )
        return FastSpeech2Output(
            mel, mel_postnet, variances.pitch, variances.energy, variances.log_duration, lengths
        )
