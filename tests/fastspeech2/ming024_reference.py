"""A plain implementation of ming024/FastSpeech2 in evaluation mode, to compare with.

It computes one utterance, one phone and one head at a time in float64 and reads parameters by the
published names.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_checkpoint(
    hidden=16,
    filter_size=24,
    kernels=(9, 1),
    layers=(2, 3),
    predictor=20,
    bins=12,
    vocabulary=11,
    mels=80,
    max_seq_len=30,
    edges=(-2.0, 2.0),
    log_edges=False,
) -> dict[str, Tensor]:
    """Draw a state dict with the published keys and values of the size of trained ones."""
    generator = torch.Generator().manual_seed(hidden + layers[1])
    state = {}

    def normal(name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        state[name] = mean + scale * torch.randn(shape, generator=generator)

    def affine(name: str, outputs: int, *inputs: int) -> None:
        normal(f"{name}.weight", outputs, *inputs, scale=math.prod(inputs) ** -0.5)
        normal(f"{name}.bias", outputs, scale=0.3)

    def norm(name: str, size: int) -> None:
        normal(f"{name}.weight", size, scale=0.2, mean=1.0)
        normal(f"{name}.bias", size, scale=0.3)

    normal("encoder.src_word_emb.weight", vocabulary, hidden)
    for stack, count in zip(("encoder", "decoder"), layers, strict=True):
        state[f"{stack}.position_enc"] = positions(max_seq_len + 1, hidden).float()[None]
        for i in range(count):
            block = f"{stack}.layer_stack.{i}"
            for name in ("w_qs", "w_ks", "w_vs", "fc"):
                affine(f"{block}.slf_attn.{name}", hidden, hidden)
            norm(f"{block}.slf_attn.layer_norm", hidden)
            affine(f"{block}.pos_ffn.w_1", filter_size, hidden, kernels[0])
            affine(f"{block}.pos_ffn.w_2", hidden, filter_size, kernels[1])
            norm(f"{block}.pos_ffn.layer_norm", hidden)
    for name in ("duration", "pitch", "energy"):
        stem = f"variance_adaptor.{name}_predictor"
        affine(f"{stem}.conv_layer.conv1d_1.conv", predictor, hidden, 3)
        norm(f"{stem}.conv_layer.layer_norm_1", predictor)
        affine(f"{stem}.conv_layer.conv1d_2.conv", predictor, predictor, 3)
        norm(f"{stem}.conv_layer.layer_norm_2", predictor)
        affine(f"{stem}.linear_layer", 1, predictor)
    for name in ("pitch", "energy"):
        low, high = (math.log(edge) for edge in edges) if log_edges else edges
        values = torch.linspace(low, high, bins - 1)
        state[f"variance_adaptor.{name}_bins"] = values.exp() if log_edges else values
        normal(f"variance_adaptor.{name}_embedding.weight", bins, hidden)
    affine("mel_linear", mels, hidden)
    sizes = [mels, 512, 512, 512, 512, mels]
    for i in range(5):
        affine(f"postnet.convolutions.{i}.0.conv", sizes[i + 1], sizes[i], 5)
        norm(f"postnet.convolutions.{i}.1", sizes[i + 1])
        normal(f"postnet.convolutions.{i}.1.running_mean", sizes[i + 1], scale=0.3)
        variance = 0.5 + torch.rand(sizes[i + 1], generator=generator)
        state[f"postnet.convolutions.{i}.1.running_var"] = variance
        state[f"postnet.convolutions.{i}.1.num_batches_tracked"] = torch.tensor(7)
    return state


def configurations(
    hidden=16, filter_size=24, kernels=(9, 1), layers=(2, 3), heads=(2, 4), predictor=20, bins=12,
    max_seq_len=30, quantisation="linear", pitch="phoneme_level", energy="phoneme_level",
) -> tuple[dict, dict]:  # fmt: skip
    """Return model.yaml and preprocess.yaml of such a checkpoint as dicts."""
    model = {
        "transformer": {
            "encoder_layer": layers[0],
            "encoder_head": heads[0],
            "encoder_hidden": hidden,
            "decoder_layer": layers[1],
            "decoder_head": heads[1],
            "decoder_hidden": hidden,
            "conv_filter_size": filter_size,
            "conv_kernel_size": list(kernels),
            "encoder_dropout": 0.2,
            "decoder_dropout": 0.2,
        },
        "variance_predictor": {"filter_size": predictor, "kernel_size": 3, "dropout": 0.5},
        "variance_embedding": {
            "pitch_quantization": quantisation,
            "energy_quantization": quantisation,
            "n_bins": bins,
        },
        "multi_speaker": False,
        "max_seq_len": max_seq_len,
    }
    preprocess = {
        "preprocessing": {
            "mel": {"n_mel_channels": 80},
            "pitch": {"feature": pitch, "normalization": True},
            "energy": {"feature": energy, "normalization": True},
        }
    }
    return model, preprocess


def positions(length: int, hidden: int) -> Tensor:
    table = torch.zeros(length, hidden, dtype=torch.float64)
    for position in range(length):
        for channel in range(hidden):
            angle = position / 10000 ** (2 * (channel // 2) / hidden)
            table[position, channel] = math.cos(angle) if channel % 2 else math.sin(angle)
    return table


class Reference:
    """Computes teacher-forced outputs of a padded batch.

    Args:
        state: the state dict.
        configs: model.yaml and preprocess.yaml.
    """

    def __init__(self, state: dict[str, Tensor], configs: tuple[dict, dict]):
        self.state = {
            name: value.double() if value.is_floating_point() else value
            for name, value in state.items()
        }
        self.model, self.preprocess = configs

    def _affine(self, name: str, x: Tensor) -> Tensor:
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def _norm(self, name: str, x: Tensor) -> Tensor:
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
        scaled = (x - mean) / (variance + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def _convolution(self, name: str, x: Tensor) -> Tensor:
        """Map `[time, inputs]` to `[time, outputs]`, one kernel position at a time."""
        weight = self.state[f"{name}.weight"]
        kernel = weight.shape[2]
        padded = F.pad(x, (0, 0, kernel // 2, kernel // 2))
        shifted = (padded[i : i + len(x)] @ weight[:, :, i].T for i in range(kernel))
        return sum(shifted) + self.state[f"{name}.bias"]

    def _attention(self, name: str, x: Tensor, length: int, heads: int) -> Tensor:
        query, key, value = (self._affine(f"{name}.{w}", x) for w in ("w_qs", "w_ks", "w_vs"))
        size = x.shape[1] // heads
        results = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:length, part].T / math.sqrt(size)
            results.append(scores.softmax(1) @ value[:length, part])
        return self._affine(f"{name}.fc", torch.cat(results, 1))

    def _stack(self, stack: str, x: Tensor, length: int) -> Tensor:
        settings = self.model["transformer"]
        x = x + positions(*x.shape)
        for i in range(settings[f"{stack}_layer"]):
            block = f"{stack}.layer_stack.{i}"
            attended = self._attention(f"{block}.slf_attn", x, length, settings[f"{stack}_head"])
            x = self._norm(f"{block}.slf_attn.layer_norm", x + attended)
            x[length:] = 0
            inner = self._convolution(f"{block}.pos_ffn.w_1", x).clamp(min=0)
            x = self._norm(
                f"{block}.pos_ffn.layer_norm", x + self._convolution(f"{block}.pos_ffn.w_2", inner)
            )
            x[length:] = 0
        return x

    def _predictor(self, name: str, x: Tensor, length: int) -> Tensor:
        stem = f"variance_adaptor.{name}_predictor"
        for i in (1, 2):
            x = self._convolution(f"{stem}.conv_layer.conv1d_{i}.conv", x).clamp(min=0)
            x = self._norm(f"{stem}.conv_layer.layer_norm_{i}", x)
        values = self._affine(f"{stem}.linear_layer", x)[:, 0]
        values[length:] = 0
        return values

    def _embedded(self, name: str, values: Tensor) -> Tensor:
        edges = self.state[f"variance_adaptor.{name}_bins"].tolist()
        bins = [sum(edge < value for edge in edges) for value in values.tolist()]
        return self.state[f"variance_adaptor.{name}_embedding.weight"][bins]

    def _postnet(self, mel: Tensor) -> Tensor:
        x = mel
        for i in range(5):
            name = f"postnet.convolutions.{i}"
            x = self._convolution(f"{name}.0.conv", x)
            mean, variance = (self.state[f"{name}.1.running_{k}"] for k in ("mean", "var"))
            x = (x - mean) / (variance + 1e-5).sqrt()
            x = x * self.state[f"{name}.1.weight"] + self.state[f"{name}.1.bias"]
            x = torch.tanh(x) if i < 4 else x
        return mel + x

    def utterance(self, phones, length, durations, pitch, energy, frames) -> dict[str, Tensor]:
        """Compute one row of a padded batch whose longest utterance has `frames` frames."""
        given = {"pitch": pitch, "energy": energy}
        level = {name: self.preprocess["preprocessing"][name]["feature"] for name in given}
        x = self._stack("encoder", self.state["encoder.src_word_emb.weight"][phones], length)
        outputs = {"log_duration": self._predictor("duration", x, length)}
        for name, values in given.items():
            if level[name] == "phoneme_level":
                outputs[name] = self._predictor(name, x, length)
                x = x + self._embedded(name, values)
        repeated = [x[i] for i in range(length) for _ in range(int(durations[i]))]
        own_frames = len(repeated)
        x = F.pad(torch.stack(repeated), (0, 0, 0, frames - own_frames))
        for name, values in given.items():
            if level[name] == "frame_level":
                outputs[name] = self._predictor(name, x, own_frames)
                x = x + self._embedded(name, values)
        outputs["mel"] = self._affine("mel_linear", self._stack("decoder", x, own_frames))
        outputs["mel_postnet"] = self._postnet(outputs["mel"])
        return outputs

    def __call__(self, phones, lengths, durations, pitch, energy) -> dict[str, Tensor]:
        """Compute every output of a padded batch."""
        frames = int(durations.sum(1).max())
        rows = [
            self.utterance(phones[i], int(lengths[i]), durations[i], pitch[i], energy[i], frames)
            for i in range(len(phones))
        ]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
