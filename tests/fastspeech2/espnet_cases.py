"""Small FastSpeech2 checkpoints as ESPnet names them, and inputs, without ESPnet itself."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

SYMBOLS = ["<blank>", "<unk>", "AH0", "N", "T", "S", "IH1", "sil", ",", "<sos/eos>"]
MELS = 12
SMALL = {
    **{"adim": 16, "aheads": 2, "elayers": 2, "eunits": 24, "dlayers": 3, "dunits": 20},
    **{"postnet_chans": 10, "duration_predictor_chans": 14, "pitch_predictor_chans": 12},
    "energy_predictor_chans": 18,
}
LJSPEECH = {
    **{"positionwise_conv_kernel_size": 3, "pitch_predictor_layers": 5},
    **{"pitch_predictor_kernel_size": 5, "pitch_embed_kernel_size": 1, "pitch_embed_dropout": 0.0},
    **{"energy_embed_kernel_size": 1, "energy_embed_dropout": 0.0, "use_masking": True},
    **{"stop_gradient_from_pitch_predictor": True, "reduction_factor": 1, "spks": -1},
}
CASES: dict[str, dict] = {
    "defaults": {},
    "ljspeech": LJSPEECH,
    "plain_positions": LJSPEECH | {"use_scaled_pos_enc": False},
    "encoder_concat_after": LJSPEECH | {"encoder_concat_after": True},
    "decoder_concat_after": {"decoder_concat_after": True, "decoder_normalize_before": False},
    "post_norm": LJSPEECH | {"encoder_normalize_before": False, "decoder_normalize_before": False},
    "encoder_post_norm": {"encoder_normalize_before": False, "encoder_concat_after": True},
    "no_postnet": LJSPEECH | {"postnet_layers": 0},
    "postnet_of_one": {"postnet_layers": 1, "postnet_filts": 3},
    "no_batch_norm": LJSPEECH | {"use_batch_norm": False},
    "linear": LJSPEECH | {"positionwise_layer_type": "linear"},
    "conv1d_linear": LJSPEECH | {"positionwise_layer_type": "conv1d-linear"},
    "long_kernels": {
        **{"positionwise_conv_kernel_size": 9, "pitch_embed_kernel_size": 5, "postnet_filts": 7},
        **{"energy_embed_kernel_size": 3, "duration_predictor_kernel_size": 5},
    },
    "four_heads": LJSPEECH | {"aheads": 4, "elayers": 3, "dlayers": 1},
    "deep_durations": LJSPEECH | {"duration_predictor_layers": 3},
    "one_layer_predictors": {"pitch_predictor_layers": 1, "energy_predictor_layers": 1},
    "short": LJSPEECH | {"duration_bias": 0.3},
    "silent": LJSPEECH | {"duration_bias": -9.0},
    "prefixed": LJSPEECH,
    "old_names": LJSPEECH | {"encoder_concat_after": True},
}
"""Settings of `tts_conf` that differ from `SMALL`. `duration_bias` is the predictor's last bias."""


def random_state(shapes: Mapping[str, list[int]], case: str) -> dict[str, Tensor]:
    """Draw a state dict of the size of trained ones; each tensor depends on its name alone."""
    state = {}
    for name, shape in shapes.items():
        seed = hashlib.sha256(f"{case} {name}".encode()).digest()[:8]
        draw = np.random.default_rng(list(seed)).standard_normal(shape).astype(np.float32)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = torch.from_numpy(0.5 + np.abs(draw))
        elif name.endswith("alpha"):
            state[name] = torch.from_numpy(np.asarray(0.8 + 0.2 * draw))
        elif len(shape) > 1:
            state[name] = torch.from_numpy(draw * np.float32(np.prod(shape[1:]) ** -0.5))
        else:
            centre = np.float32(name.endswith("weight"))  # of a LayerNorm or BatchNorm
            state[name] = torch.from_numpy(centre + np.float32(0.3) * draw)
    bias = "duration_predictor.linear.bias"
    state[bias] = state[bias] + CASES[case].get("duration_bias", 1.3)
    return state


def train_config(case: str) -> dict:
    """The config.yaml of a case, as far as loading reads it."""
    conf = SMALL | {k: v for k, v in CASES[case].items() if k != "duration_bias"}
    return {"tts": "fastspeech2", "tts_conf": conf, "token_list": SYMBOLS, "odim": None}


def random_batch(lengths: list[int], seed: int = 0) -> dict[str, Tensor]:
    """Phones without the end of sentence, and durations, pitch and energy with it."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    text = rng.integers(1, len(SYMBOLS) - 1, shape)
    text *= np.arange(shape[1]) < np.array(lengths)[:, None]
    inside = np.arange(shape[1] + 1) <= np.array(lengths)[:, None]
    durations = rng.integers(0, 6, inside.shape) * inside
    durations[:, 0] += 1
    values = {
        name: (rng.standard_normal(inside.shape) * inside).astype(np.float32)
        for name in ("pitch", "energy")
    }
    arrays = {"text": text, "lengths": np.array(lengths), "durations": durations, **values}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


BATCHES = {"alone": [9], "batch": [8, 3, 6, 1]}
"""Phones of the utterances that are teacher-forced together."""

DURATIONS = [7, 12, 0, 9, 20, 5, 14, 0]
"""Frames of the phones of `waveform`; two have none."""
BINS = 30_000
"""ESPnet's `batch_bins` for `corpus_sizes`."""


def waveform() -> np.ndarray:
    """A harmonic tone that rises from 120 to 180 Hz, with pauses and noise, float32 `[samples]`."""
    time = np.arange(256 * (sum(DURATIONS) - 1) + 40) / 22050
    phase = 2 * np.pi * np.cumsum(120 + 60 * time / time[-1]) / 22050
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    tone *= (time % 0.25 < 0.17) * 0.1
    noise = np.random.default_rng(0).standard_normal(len(time)) * 0.001
    return (tone + noise).astype(np.float32)


def corpus_sizes() -> tuple[np.ndarray, np.ndarray]:
    """Numbers of phones and of samples of forty utterances; some have the same number of phones."""
    rng = np.random.default_rng(1)
    phones = rng.integers(3, 40, 40)
    return phones, phones * 120 + rng.integers(0, 900, 40)
