"""FastSpeech 2 (Ren et al. 2021): one network for every published variant, see conf/model/."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastspeech2.model.layers import NORMS, Dropout, FFTBlock, Linear, Positions
from fastspeech2.model.output import Encoding, FastSpeech2Output
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
from fastspeech2.settings import EmbeddingSettings, ModelSettings
from pipeline.settings import section_of

Given = Tensor | Callable[[Tensor], Tensor] | None
"""Pitch or energy to embed: values, a function of the predicted values, or None for these."""


class FastSpeech2(nn.Module):
    """Phones to log-mel.

    Args:
        config: a node of conf/model/. Pitch and energy are embedded as continuous values unless
            `bins` is given, and both are predicted from the encoder's output unless `cascaded`
            makes the energy predictor see the embedded pitch. `frame_level` lists which of pitch
            and energy are predicted per frame rather than per phone. `decoder_heads`,
            `decoder_dropout`, `decoder_norm`, `decoder_ffn` and `decoder_concatenate` override the
            encoder's values. With `mask_padding: false`, teacher-forced evaluation computes the
            padding too, so that results depend on the batch as in ming024/FastSpeech2, and with
            `keep_padding: true` as in ESPnet, whose blocks do not set it to zero; otherwise no
            utterance depends on its batch. `shortest` is the least number of frames that is
            predicted for a phone. With `normalised_mel: true`, mels have mean 0 and standard
            deviation 1 in each band. With `eos: true` the last symbol ends an utterance; see
            `forward`.
        vocabulary: number of phone symbols; index 0 is padding.
        mels: number of mel bands.

    Raises:
        RecipeError: a setting is wrong, sizes do not fit together, or a kernel size is even.
    """

    def __init__(self, config: ModelSettings | Mapping, vocabulary: int, mels: int = 80):
        super().__init__()
        config = section_of(ModelSettings, config)
        hidden = config.hidden
        eps = config.norm_eps
        self.embedding = nn.Embedding(vocabulary, hidden, padding_idx=0)
        positions = (hidden, config.positions, config.float32_positions)
        self.encoder_positions = Positions(*positions)
        self.decoder_positions = Positions(*positions)
        decoder = _decoder_settings(config)
        self.input_dropout = Dropout(config.dropout.input)
        self.decoder_input_dropout = Dropout(decoder.dropout.input)
        self.encoder = _blocks(config, config.encoder_layers, True)
        self.decoder = _blocks(decoder, config.decoder_layers, config.decoder_attention)
        self.encoder_norm, self.decoder_norm = (
            nn.LayerNorm(hidden, eps) if NORMS[settings.norm] else nn.Identity()
            for settings in (config, decoder)
        )
        self.duration_predictor = VariancePredictor(
            hidden, **dict(config.duration_predictor), norm_eps=eps
        )
        self.pitch_predictor = VariancePredictor(
            hidden, **dict(config.pitch_predictor), norm_eps=eps
        )
        self.energy_predictor = VariancePredictor(
            hidden, **dict(config.energy_predictor), norm_eps=eps
        )
        self.pitch_embedding = _value_embedding(config, config.pitch_embedding)
        self.energy_embedding = _value_embedding(config, config.energy_embedding)
        self.cascaded = config.cascaded
        self.mask_padding = config.mask_padding
        self.keep_padding = config.keep_padding
        self.shortest = config.shortest
        self.normalised_mel = config.normalised_mel
        self.eos = vocabulary - 1 if config.eos else None
        self.frame_level = tuple(config.frame_level)
        self.phone_position = Linear(3, hidden) if config.phone_position else None
        # The decoder works on groups of neighbouring frames. ESPnet's reduction_factor does not
        # group: durations count steps of the decoder there, each of which predicts several frames.
        self.reduction_factor = config.reduction_factor
        grouped = self.reduction_factor * hidden
        self.merge = Linear(grouped, hidden) if self.reduction_factor > 1 else None
        self.mel_output = Linear(hidden, self.reduction_factor * mels)
        self.postnet = Postnet(mels, **dict(config.postnet)) if config.postnet else None
        kernels = [each.kernel_size[0] for each in self.modules() if isinstance(each, nn.Conv1d)]
        self.gap = max(kernels) // 2
        if config.initialisation == "xavier_uniform":
            self._xavier_uniform()

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
        device = self.embedding.weight.device
        return plan_phones(lengths, size, self.gap, device, padded, self.keep_padding)

    def _plan_frames(self, phones: Packing, durations: Tensor, padded: bool = False) -> FramePlan:
        device = self.embedding.weight.device
        return plan_frames(
            phones, durations, self.reduction_factor, self.gap, device, padded, self.keep_padding
        )

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

        A model with an end of sentence predicts for it like for a phone. Without a plan it is
        appended where it is missing: to all utterances if `durations` has a column more than
        `phones`, and without durations to those whose last phone it is not.

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
        if self.eos is not None:
            phones, phone_lengths = self._with_eos(phones, phone_lengths, durations)
        padded = not (self.training or self.mask_padding)
        phone_plan = self._plan_phones(phone_lengths, phones.shape[1], padded)
        encoding = self.encode(phones, phone_lengths, moved(phone_plan, phones.device))
        durations = encoding.durations() if durations is None else durations
        frame_plan = self._plan_frames(phone_plan.packing, durations, padded)
        return self.decode_planned(encoding, moved(frame_plan, phones.device), pitch, energy)

    def _with_eos(
        self, phones: Tensor, lengths: Tensor, durations: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Append the end of sentence as `forward` says."""
        if durations is None:
            missing = phones.gather(1, lengths[:, None] - 1) != self.eos
        else:
            missing = torch.full_like(lengths[:, None], durations.shape[1] > phones.shape[1]).bool()
        if not missing.any():
            return phones, lengths
        wider = F.pad(phones, (0, 1))
        ended = wider.scatter(1, lengths[:, None], self.eos)
        phones, lengths = torch.where(missing, ended, wider), lengths + missing[:, 0]
        return phones[:, : int(lengths.max())], lengths

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
        mask = padding_mask(phone_lengths, size)
        return Encoding(x, plan, mask, log_duration, self.shortest)

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

        x = self.decoder_input_dropout(self.decoder_positions(x, plan.groups)) * plan.groups.kept
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


def _decoder_settings(config: ModelSettings) -> ModelSettings:
    """The settings of the encoder's blocks, with those that `decoder_...` overrides."""
    names = ("heads", "dropout", "norm", "ffn", "concatenate")
    given = {name: getattr(config, f"decoder_{name}") for name in names}
    return config.model_copy(update={k: v for k, v in given.items() if v is not None})


def _blocks(settings: ModelSettings, layers: int, attention: bool) -> nn.ModuleList:
    return nn.ModuleList(
        FFTBlock(
            settings.hidden,
            settings.heads,
            settings.ffn.channels,
            tuple(settings.ffn.kernels),
            settings.dropout,
            settings.norm,
            attention,
            settings.norm_eps,
            settings.concatenate,
        )
        for _ in range(layers)
    )


def _value_embedding(config: ModelSettings, settings: EmbeddingSettings) -> nn.Module:
    if config.bins:
        return BinnedEmbedding(config.bins, config.hidden)
    return ContinuousEmbedding(config.hidden, **dict(settings))
