"""Predicted naturalness: DistillMOS (Stahl and Gamper 2025) predicts mean opinion scores."""

import contextlib
import io

import numpy as np
import torch

MARGIN = 12
"""Frames of silence after a clip that are still within reach of the convolutions."""


class NaturalnessPredictor:
    """DistillMOS, which scores windows of 7.68 s and pads shorter clips with silence.

    The convolutions give the same features for that silence in every clip, so they are computed
    only once. This halves the time for a short clip and changes its score only by rounding.
    """

    def __init__(self):
        from distillmos import sqa

        with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
            self._model = sqa.ConvTransformerSQAModel().eval()
        self._window, self._hop = sqa.SEQ_LEN, self._model.cnn.hop_length
        with torch.inference_mode():
            self._silence = self._model.cnn(torch.zeros(1, self._window))

    @torch.inference_mode()
    def score(self, waveform: np.ndarray) -> float:
        """Predict the mean opinion score, 1 to 5, of `[samples]` at 16,000 Hz."""
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
