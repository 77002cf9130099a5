"""Compensation of the variance that a mel loses when it is predicted as an average.

A model trained with an L1 or L2 loss predicts something between the mels that would all be right,
which is flatter over time than any of them. Scaling each band's deviations from its mean over the
utterance gives natural variance back ("global variance": Toda and Tokuda 2007; by scaling: Silén
et al. 2012).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from preprocessing.features.store import FeatureStore


def _variance(mels: Sequence[Tensor]) -> Tensor:
    """Mean over utterances of each band's variance over time, `[mels]`."""
    return torch.stack([mel.var(0, correction=0) for mel in mels]).mean(0)


def variance_ratio(natural: Sequence[Tensor], predicted: Sequence[Tensor]) -> Tensor:
    """By how much predictions have to be stretched, a factor of each band, `[mels]`, at least 1.

    Args:
        natural, predicted: log-mels `[frames, mels]` of the same utterances.
    """
    return (_variance(natural) / _variance(predicted)).sqrt().clamp(min=1.0)


def compensate(mel: Tensor, ratio: Tensor, mask: Tensor) -> Tensor:
    """Stretch each band of each utterance about its mean.

    Args:
        mel: `[batch, frames, mels]`.
        ratio: `[mels]`.
        mask: `[batch, frames]`, True inside the utterance.
    """
    inside = mask[:, :, None].to(mel.dtype)
    mean = (mel * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True)
    return mean + (mel - mean) * ratio


def measure(synthesiser, store: FeatureStore, split: str = "validation") -> list[float]:
    """The variance ratio of each band on a split that training has not seen, `[mels]`."""
    natural, predicted = [], []
    for i in store.split(split):
        segment = store.segment(i)
        natural.append(torch.tensor(segment.mel))
        predicted.append(synthesiser.synthesise([segment.phones])[0].mel.cpu())
    return variance_ratio(natural, predicted).tolist()
