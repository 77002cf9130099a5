"""Duration, pitch and energy of phones, and length regulation from phones to frames."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastspeech2.kernels.packing import Packing
from fastspeech2.model.layers import Dropout, Linear, TimeConv1d


class VariancePredictor(nn.Module):
    """Convolution, ReLU, LayerNorm and dropout, `layers` times, then one value per row."""

    def __init__(
        self,
        inputs: int,
        layers: int,
        channels: int,
        kernel: int,
        dropout: float,
        stop_gradient: bool,
    ):
        super().__init__()
        self.stop_gradient = stop_gradient
        sizes = [inputs] + [channels] * layers
        self.convolutions = nn.ModuleList(
            TimeConv1d(before, after, kernel)
            for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))
        self.dropout = Dropout(dropout)
        self.output = Linear(channels, 1)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed `[1, rows, channels]` to `[1, rows, 1]`, zero outside the sequences."""
        if self.stop_gradient:
            x = x.detach()
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = F.relu(convolution(x * packing.present))
            x = self.dropout(norm(hidden))
        return self.output(x) * packing.inside


class ContinuousEmbedding(nn.Module):
    """A normalised value per phone to channels by a convolution of kernel one (ESPnet)."""

    def __init__(self, channels: int):
        super().__init__()
        self.projection = TimeConv1d(1, channels, 1)

    def forward(self, value: Tensor) -> Tensor:
        """`[batch, time]` to `[batch, time, channels]`."""
        return self.projection(value[:, :, None])


class BinnedEmbedding(nn.Embedding):
    """A normalised value to the embedding of the bin that it falls into (ming024/FastSpeech2).

    Args:
        bins: number of bins; the outer two reach to infinity.
        channels: of the embedding.
    """

    def __init__(self, bins: int, channels: int):
        super().__init__(bins, channels)
        # A parameter that is never trained, as there, so that both count the same parameters.
        self.edges = nn.Parameter(torch.linspace(-3.0, 3.0, bins - 1), requires_grad=False)

    @torch.no_grad()
    def set_bin_edges(self, lowest: float, highest: float) -> None:
        """Set bins of equal width between the corpus's lowest and highest value."""
        self.edges.copy_(torch.linspace(lowest, highest, len(self.edges)))

    def forward(self, value: Tensor) -> Tensor:
        """`[batch, time]` to `[batch, time, channels]`; an edge belongs to the bin below it."""
        return super().forward((value[:, :, None] > self.edges).sum(2))


def phone_of_frame(durations: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """Which phone each frame belongs to, found without a loop.

    Args:
        durations: frames of each phone, `[batch, phones]`, zero in the padding.
        frames: the longest utterance's frames.

    Returns:
        Phone indices `[batch, frames]`, and the ends of the phones `[batch, phones]` in frames.
    """
    ends = durations.cumsum(1)
    # How many phones have ended by each frame. What ends with the batch goes to one frame more.
    ended = torch.zeros_like(ends[:, :1]).repeat(1, frames + 1)
    ended = ended.scatter_add(1, ends, torch.ones_like(ends))[:, :frames].cumsum(1)
    return ended.clamp(max=durations.shape[1] - 1), ends


def regulate_length(x: Tensor, index: Tensor, phones: Packing, frames: Packing) -> Tensor:
    """Repeat packed phones `[1, rows of phones, channels]` to frames `[1, rows, channels]`.

    Args:
        index: which phone each frame belongs to, `[batch, frames]`.
        phones, frames: how both are packed.
    """
    phone = index[frames.sequence, frames.step.clamp(max=index.shape[1] - 1)]
    row = (phones.starts[frames.sequence] + phone).clamp(max=x.shape[1] - 1)
    return x.index_select(1, row) * frames.inside


def position_in_phone(durations: Tensor, index: Tensor, ends: Tensor) -> Tensor:
    """Where each frame lies in its phone, `[batch, frames, 3]`: from its start, to its end, length.

    The first two run over 0..1 as fractions of the phone, the last is log(duration).
    """
    duration = durations.gather(1, index).clamp(min=1)
    frame = torch.arange(index.shape[1], device=index.device)
    to_end = (ends.gather(1, index) - frame - 0.5) / duration
    return torch.stack([1.0 - to_end, to_end, duration.float().log()], dim=2)
