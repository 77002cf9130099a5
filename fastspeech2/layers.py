"""Building blocks over `[batch, time, channels]`: convolution, attention, FFT block, positions."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 128
"""Of what the rows of a bfloat16 product on a CPU are made a multiple."""


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """`[batch]` lengths to a `[batch, size]` bool mask, True inside each sequence."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; in bfloat16 on a CPU the number of rows is rounded up.

    oneDNN compiles a kernel for each size of product and keeps only so many of them, and the
    batches of speech are of hundreds of sizes: compiling would take longer than multiplying.
    """
    if not bfloat16_on_cpu(x):
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2).to(torch.bfloat16)
    padded = F.pad(rows, (0, 0, 0, -len(rows) % ROWS))
    return F.linear(padded, weight, bias)[: len(rows)].unflatten(0, x.shape[:-1])


def bfloat16_on_cpu(x: Tensor) -> bool:
    """Whether autocast would multiply `x` in bfloat16 on a CPU."""
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu")


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def dropout(x: Tensor, share: float) -> Tensor:
    """`F.dropout` in training; on a CPU its mask costs a third, drawn sixteen bits to a value."""
    if x.device.type != "cpu" or share == 0.0:
        return F.dropout(x, share)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(share * 2**16) - 2**15
    return x * kept.to(x.dtype).mul_(1 / (1 - share))


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


class TimeConv1d(nn.Conv1d):
    """`nn.Conv1d` with "same" padding over `[batch, time, channels]`, without transposing anything.

    The input is viewed as a one-row channels-last image, the layout in which oneDNN and cuDNN are
    fastest. On a CPU one product with the neighbouring frames side by side is faster in bfloat16,
    and in float32 where there are more outputs than inputs. Weights lie in memory as both want
    them, `[outputs, kernel, inputs]`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True):
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.weight.data = self.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        kernel, padding = self.kernel_size[0], self.padding[0]
        if kernel == 1:
            return linear(x, self.weight.squeeze(2), self.bias)
        in_bfloat16 = bfloat16_on_cpu(x)
        if in_bfloat16 or (x.device.type == "cpu" and self.out_channels > self.in_channels):
            frames = x.shape[1]
            x = F.pad(x.to(torch.bfloat16) if in_bfloat16 else x, (0, 0, padding, padding))
            neighbours = torch.cat([x[:, i : i + frames] for i in range(kernel)], 2)
            return linear(neighbours, self.weight.transpose(1, 2).flatten(1), self.bias)
        image = x.unsqueeze(1).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight.unsqueeze(2), self.bias, padding=(0, padding))
        return y.permute(0, 2, 3, 1).squeeze(1)


def sinusoids(length: int, channels: int, device: torch.device) -> Tensor:
    """Sinusoidal positions `[length, channels]` (Vaswani et al. 2017), for any length.

    Sines stand in even and cosines in odd channels, as in ESPnet and ming024/FastSpeech2.
    """
    # In float64, since in float32 the sine of a large angle is wrong in its fourth digit.
    position = torch.arange(length, device=device, dtype=torch.float64)[:, None]
    even = torch.arange(0, channels, 2, device=device, dtype=torch.float64)
    angle = position * torch.exp(even * (-math.log(10000.0) / channels))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1).float()


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
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels)
        self.value = Linear(channels, channels)
        self.output = Linear(channels, channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, time, channels = x.shape
        query, key, value = (
            layer(x).view(batch, time, self.heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        share = self.dropout if self.training else 0.0
        if x.is_cuda or torch.onnx.is_in_onnx_export():
            context = F.scaled_dot_product_attention(
                query, key, value, mask[:, None, None, :], share
            )
        else:
            # On CPUs the masked kernel of torch is slower than two plain matrix products.
            # Small ones are made in float32, which compiles no kernel for each size (see `linear`).
            large = time >= 256
            if not large:
                query, key, value = query.float(), key.float(), value.float()
            with torch.autocast("cpu", enabled=large and bfloat16_on_cpu(x)):
                scores = query / math.sqrt(query.shape[3]) @ key.transpose(2, 3)
                scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
                context = dropout(scores.softmax(-1), share) @ value
        return self.output(context.transpose(1, 2).reshape(batch, time, channels))


class FFTBlock(nn.Module):
    """Feed-forward transformer block: self-attention, then two convolutions (Ren et al. 2019).

    Args:
        dropout: shares of `attention` weights, of the convolutions' `hidden` values and of what is
            added to the `residual`. ESPnet has all three, ming024 the last.
        norm: "pre" normalises what enters a sublayer (ESPnet), "post" what leaves it (ming024).
        attention: without it the block is its convolutions alone.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_channels: int,
        kernels: tuple[int, int],
        dropout: Mapping[str, float],
        norm: str,
        attention: bool,
    ):
        super().__init__()
        self.pre = norm == "pre"
        self.attention = SelfAttention(channels, heads, dropout["attention"]) if attention else None
        self.attention_norm = nn.LayerNorm(channels) if attention else None
        self.expand = TimeConv1d(channels, ffn_channels, kernels[0])
        self.contract = TimeConv1d(ffn_channels, channels, kernels[1])
        self.ffn_norm = nn.LayerNorm(channels)
        self.hidden_dropout = Dropout(dropout["hidden"])
        self.residual_dropout = Dropout(dropout["residual"])

    def _feed_forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        hidden = self.hidden_dropout(F.relu(self.expand(x)))
        if self.contract.kernel_size[0] > 1 and mask is not None:
            hidden = hidden * mask
        return self.contract(hidden)

    def forward(self, x: Tensor, mask: Tensor, mask_padding: bool = True) -> Tensor:
        """`x` `[batch, time, channels]`, `mask` `[batch, time]`; padding leaves as zeros.

        `mask_padding` is whether the second convolution sees zeros there as well.
        """
        inside = mask[:, :, None].to(x.dtype)
        if self.attention is not None:
            entering = self.attention_norm(x) if self.pre else x
            x = x + self.residual_dropout(self.attention(entering, mask))
            if not self.pre:
                x = self.attention_norm(x) * inside
        entering = self.ffn_norm(x) * inside if self.pre else x
        change = self._feed_forward(entering, inside if mask_padding else None)
        x = x + self.residual_dropout(change)
        if not self.pre:
            x = self.ffn_norm(x)
        return x * inside
