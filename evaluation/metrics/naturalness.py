"""Predicted naturalness: DistillMOS (Stahl and Gamper 2025), a predictor of opinion scores."""

import contextlib
import io

import numpy as np
import torch

MARGIN = 12
"""Frames of silence after a clip within which the network's convolutions still hear it."""


class NaturalnessPredictor:
    """DistillMOS, which looks at windows of 7.68 s and pads a shorter clip with silence.

    Its convolutions give the same features for all of that silence, so they are computed once for
    all clips; that halves the time of a short clip and changes its score only by rounding.
    """

    def __init__(self):
        from distillmos import sqa

        with contextlib.redirect_stdout(io.StringIO()):  # it announces its weights
            self._model = sqa.ConvTransformerSQAModel().eval()
        self._window, self._hop = sqa.SEQ_LEN, self._model.cnn.hop_length
        with torch.inference_mode():
            self._silence = self._model.cnn(torch.zeros(1, self._window))

    @torch.inference_mode()
    def score(self, waveform: np.ndarray) -> float:
        """Predicted opinion, 1 to 5, of `[samples]` at 16,000 Hz."""
        clip = torch.from_numpy(waveform)[None]
        steps = -(-clip.shape[1] // (2 * self._hop)) + MARGIN  # the network halves the frame rate
        samples = 2 * self._hop * steps
        if samples >= self._window:
            return float(self._model(clip))
        clip = clip / (clip.abs().max() + 1e-8)
        heard = self._model.cnn(torch.nn.functional.pad(clip, (0, samples - clip.shape[1])))
        kept = steps - MARGIN // 2
        features = torch.cat([heard[..., :kept], self._silence[..., kept:]], dim=-1)
        return 1 + 4 * float(self._model.transformer_pool_attn(features.transpose(1, 2)))
