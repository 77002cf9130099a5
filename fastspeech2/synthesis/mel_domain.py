"""From the mels that a model predicts to the log-mels that HiFi-GAN reads."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from audio.espnet_mel import to_hifigan


class MelDomain(nn.Module):
    """Undoes the normalisation of a model's targets, and converts other mels to HiFi-GAN's.

    Args:
        normalised: the model was trained on mels with mean 0 and standard deviation 1 in each band.
        statistics: mean and std of `mel`, `[mels]` each.
        kind: a name in `audio.constants.MEL_KINDS`.
    """

    def __init__(self, normalised: bool, statistics: Mapping, kind: str):
        super().__init__()
        self.kind = kind
        mean, std = (statistics["mel"][key] for key in ("mean", "std")) if normalised else (0, 1)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))
        self.normalised = normalised

    def natural(self, mel: Tensor) -> Tensor:
        """Mels `[..., mels]` in the units of the feature store."""
        return mel * self.std + self.mean if self.normalised else mel

    def forward(self, mel: Tensor) -> Tensor:
        """HiFi-GAN's log-mels `[..., mels]`."""
        return to_hifigan(self.natural(mel), self.kind)
