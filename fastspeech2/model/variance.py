"""The variance adaptor's parts: predictors of duration, pitch and energy, and their embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastspeech2.model.layers import Dropout, Linear, TimeConv1d
from fastspeech2.packing import Packing


class VariancePredictor(nn.Module):
    """Convolution, ReLU, LayerNorm and dropout, `layers` times, then one value for each row."""

    def __init__(
        self,
        inputs: int,
        layers: int,
        channels: int,
        kernel: int,
        dropout: float,
        stop_gradient: bool,
        norm_eps: float = 1e-5,
    ):
        super().__init__()
        self.stop_gradient = stop_gradient
        sizes = [inputs] + [channels] * layers
        self.convolutions = nn.ModuleList(
            TimeConv1d(before, after, kernel)
            for before, after in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels, norm_eps) for _ in range(layers))
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
    """Embeds a normalised value by a convolution, of kernel size one by default (ESPnet)."""

    def __init__(self, channels: int, kernel: int = 1, dropout: float = 0.0):
        super().__init__()
        self.projection = TimeConv1d(1, channels, kernel)
        self.dropout = Dropout(dropout)

    def forward(self, value: Tensor) -> Tensor:
        """`[batch, time]` to `[batch, time, channels]`."""
        return self.dropout(self.projection(value[:, :, None]))


class BinnedEmbedding(nn.Embedding):
    """Embeds a normalised value by the bin that it falls into (ming024/FastSpeech2).

    Args:
        bins: number of bins; the first and the last are open-ended.
        channels: of the embedding.
    """

    def __init__(self, bins: int, channels: int):
        super().__init__(bins, channels)
        # A frozen parameter, as in ming024/FastSpeech2, so that parameter counts agree.
        self.edges = nn.Parameter(torch.linspace(-3.0, 3.0, bins - 1), requires_grad=False)

    @torch.no_grad()
    def set_bin_edges(self, lowest: float, highest: float) -> None:
        """Set bins of equal width between the lowest and the highest value of the corpus."""
        self.edges.copy_(torch.linspace(lowest, highest, len(self.edges)))

    def forward(self, value: Tensor) -> Tensor:
        """`[batch, time]` to `[batch, time, channels]`; an edge belongs to the bin below it."""
        return super().forward((value[:, :, None] > self.edges).sum(2))
