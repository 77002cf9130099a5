"""Building blocks over `[batch, time, channels]`: convolution, attention, FFT block, positions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """`[batch]` lengths to a `[batch, size]` bool mask, True inside each sequence."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class TimeConv1d(nn.Conv1d):
    """`nn.Conv1d` with "same" padding over `[batch, time, channels]`, without transposing anything.

    In float32 and on GPUs the input is viewed as a one-row channels-last image, the layout in which
    oneDNN and cuDNN are fastest. In bfloat16 on a CPU one product with the neighbouring frames side
    by side is faster. Weights lie in memory as both want them, `[outputs, kernel, inputs]`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.weight.data = self.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        kernel, padding = self.kernel_size[0], self.padding[0]
        if kernel == 1:
            return F.linear(x, self.weight.squeeze(2), self.bias)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            x = F.pad(x.to(torch.get_autocast_dtype("cpu")), (0, 0, padding, padding))
            frames = x.shape[1] - kernel + 1
            neighbours = torch.cat([x[:, i : i + frames] for i in range(kernel)], 2)
            return F.linear(neighbours, self.weight.transpose(1, 2).flatten(1), self.bias)
        image = x.unsqueeze(1).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight.unsqueeze(2), self.bias, padding=(0, padding))
        return y.permute(0, 2, 3, 1).squeeze(1)


def sinusoids(length: int, channels: int, device: torch.device) -> Tensor:
    """Sinusoidal positions `[length, channels]` (Vaswani et al. 2017), for any length.

    Sines stand in even and cosines in odd channels, as in ESPnet and ming024/FastSpeech2.
    """
    position = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    even = torch.arange(0, channels, 2, device=device, dtype=torch.float32)
    angle = position * torch.exp(even * (-math.log(10000.0) / channels))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)


class Positions(nn.Module):
    """Adds sinusoidal positions, scaled by a learnt factor where `scaled` (Li et al. 2019)."""

    def __init__(self, channels: int, scaled: bool):
        super().__init__()
        self.channels = channels
        self.scale = nn.Parameter(torch.ones(())) if scaled else 1.0

    def forward(self, x: Tensor) -> Tensor:
        table = sinusoids(x.shape[1], self.channels, x.device)
        return x + (self.scale * table).to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention; padded keys get no weight."""

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, time, channels = x.shape
        query, key, value = (
            layer(x).view(batch, time, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        if x.is_cuda:
            context = F.scaled_dot_product_attention(
                query, key, value, mask[:, None, None, :], dropout
            )
        else:
            # On CPUs the masked kernel of torch is slower than two plain matrix products.
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
            scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
            context = F.dropout(scores.softmax(-1), dropout) @ value
        return self.output(context.transpose(1, 2).reshape(batch, time, channels))


class FFTBlock(nn.Module):
    """Feed-forward transformer block: self-attention, then two convolutions (Ren et al. 2019).

    Args:
        norm: "pre" normalises what enters a sublayer (ESPnet), "post" what leaves it (ming024).
        attention: without it the block is its convolutions alone.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_channels: int,
        kernels: tuple[int, int],
        dropout: float,
        norm: str,
        attention: bool,
    ):
        super().__init__()
        self.pre = norm == "pre"
        self.attention = SelfAttention(channels, heads, dropout) if attention else None
        self.attention_norm = nn.LayerNorm(channels) if attention else None
        self.expand = TimeConv1d(channels, ffn_channels, kernels[0])
        self.contract = TimeConv1d(ffn_channels, channels, kernels[1])
        self.ffn_norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def _feed_forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = F.relu(self.expand(x))
        if self.contract.kernel_size[0] > 1:
            hidden = hidden * mask
        return self.contract(hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` `[batch, time, channels]`, `mask` `[batch, time]`; padding leaves as zeros."""
        inside = mask[:, :, None].to(x.dtype)
        if self.attention is not None:
            entering = self.attention_norm(x) if self.pre else x
            x = x + self.dropout(self.attention(entering, mask))
            if not self.pre:
                x = self.attention_norm(x) * inside
        entering = self.ffn_norm(x) * inside if self.pre else x
        x = x + self.dropout(self._feed_forward(entering, inside))
        if not self.pre:
            x = self.ffn_norm(x)
        return x * inside
