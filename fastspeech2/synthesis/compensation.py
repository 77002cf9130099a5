"""Variance compensation: makes predicted mels vary over time as much as natural ones.

A model trained with an L1 or L2 loss predicts an average of all plausible mels, which varies less
over time than any of them. Scaling each band's deviations from its mean over the utterance restores
the natural ("global") variance (Toda and Tokuda 2007; by scaling: Silén et al. 2012).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from audio.espnet_mel import to_hifigan
from preprocessing.features.store import FeatureStore


def _variance(mels: Sequence[Tensor]) -> Tensor:
    """Each band's variance over time, averaged over utterances, `[mels]`."""
    return torch.stack([mel.var(0, correction=0) for mel in mels]).mean(0)


def variance_ratio(natural: Sequence[Tensor], predicted: Sequence[Tensor]) -> Tensor:
    """Factor by which each band's deviations have to be scaled, at least 1, `[mels]`.

    Args:
        natural: log-mels `[frames, mels]` of the recordings.
        predicted: log-mels `[frames, mels]` of the same utterances.
    """
    return (_variance(natural) / _variance(predicted)).sqrt().clamp(min=1.0)


def compensate(mel: Tensor, ratio: Tensor, mask: Tensor) -> Tensor:
    """Scale each band's deviations from its mean over the utterance.

    Args:
        mel: padded log-mels, `[batch, frames, mels]`.
        ratio: from `variance_ratio`, `[mels]`.
        mask: True inside the utterances, False in the padding, `[batch, frames]`.
    """
    inside = mask[:, :, None].to(mel.dtype)
    mean = (mel * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True)
    return mean + (mel - mean) * ratio


def measure(synthesiser, store: FeatureStore, split: str = "validation") -> list[float]:
    """Measure the variance ratio on a split that training has not seen, `[mels]`."""
    natural, predicted = [], []
    for i in store.split(split):
        segment = store.segment(i)
        natural.append(to_hifigan(torch.tensor(segment.mel), segment.mel_kind))
        predicted.append(synthesiser.synthesise([segment.phones])[0].mel.cpu())
    return variance_ratio(natural, predicted).tolist()
