"""The postnet of Tacotron 2 (Shen et al. 2018)."""

import torch
from torch import Tensor, nn

from fastspeech2.model.layers import Dropout, TimeConv1d
from fastspeech2.packing import FramePlan, take_rows


class Postnet(nn.Module):
    """Convolutions that refine a mel, with BatchNorm unless `norm` is false.

    All but the last have a tanh.
    """

    def __init__(
        self,
        mels: int,
        layers: int,
        channels: int,
        kernel: int,
        dropout: float,
        bias: bool,
        norm: bool = True,
    ):
        super().__init__()
        sizes = [mels] + [channels] * (layers - 1) + [mels]
        self.convolutions = nn.ModuleList(
            TimeConv1d(inputs, outputs, kernel, bias=bias)
            for inputs, outputs in zip(sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(size) if norm else nn.Identity() for size in sizes[1:]
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, plan: FramePlan) -> Tensor:
        """Packed `[1, rows, mels]` to the same."""
        x = x * plan.packing.present
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = self._normalise(convolution(x), norm, plan)
            x = self.dropout(torch.tanh(x) if i + 1 < len(self.norms) else x)
        return x

    def _normalise(self, x: Tensor, norm: nn.Module, plan: FramePlan) -> Tensor:
        """Packed `[1, rows, channels]` to the same, zero in the gaps."""
        # BatchNorm over `[rows, channels]` is ten times as fast as over `[batch, channels, time]`.
        rows = x.squeeze(0)
        if not (norm.training and isinstance(norm, nn.BatchNorm1d)):
            return norm(rows)[None] * plan.packing.present
        # The gaps belong to no recording, so the batch statistics leave them out.
        present = take_rows(rows, plan.present_rows)
        return take_rows(norm(present), plan.present_places)[None]
