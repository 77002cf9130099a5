"""Building blocks: convolution over `[batch, time, channels]`, and over packed rows attention, FFT
block and positions."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from fastspeech2.kernels.packing import Packing
from fastspeech2.kernels.toom_cook import LONGEST, toom_cook_convolution
from pipeline.errors import RecipeError
from pipeline.hardware import multiplies_tiles
from pipeline.settings import chosen

ROWS = 128
"""Of what the rows of a bfloat16 product on a CPU are made a multiple."""
WIDE = 256
"""Channels, in and out, from which Toom and Cook's convolution saves more than it adds."""
LONG = 7
"""The kernel from which it takes less time in float32 than the plain sum by AVX512-BF16."""
NORMS = {"pre": True, "post": False}
"""Whether a sublayer's input is normalised, rather than its output."""


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
    if share == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, share)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(share * 2**16) - 2**15
    return x * kept.to(x.dtype).mul_(1 / (1 - share))


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


class _Neighbours(Function):
    """Its gradient is summed in one place; torch's own would make one for each neighbour."""

    @staticmethod
    def forward(context, x: Tensor, kernel: int) -> Tensor:
        context.kernel = kernel
        return _neighbours(x, kernel)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        batch, time, _ = gradient.shape
        parts = gradient.unflatten(2, (context.kernel, -1))
        total = gradient.new_zeros(batch, time + context.kernel - 1, parts.shape[3])
        for i in range(context.kernel):
            total[:, i : i + time] += parts[:, :, i]
        return total[:, context.kernel // 2 :][:, :time], None


def _neighbours(x: Tensor, kernel: int) -> Tensor:
    time = x.shape[1]
    x = F.pad(x, (0, 0, kernel // 2, kernel // 2))
    return torch.cat([x[:, i : i + time] for i in range(kernel)], 2)


def neighbours(x: Tensor, kernel: int) -> Tensor:
    """`[batch, time, channels]` to `[batch, time, kernel · channels]`, zeros beyond the ends."""
    return _Neighbours.apply(x, kernel) if torch.is_grad_enabled() else _neighbours(x, kernel)


class TimeConv1d(nn.Conv1d):
    """`nn.Conv1d` with "same" padding over `[batch, time, channels]`, without transposing anything.

    On a CPU it is one product with the neighbouring frames side by side, since oneDNN's gradient of
    a kernel is slow for one long sequence; training with many channels, it is Toom and Cook's, in
    float32 even where the plain sum in bfloat16 would take longer. Elsewhere the input is viewed as
    a one-row channels-last image, the layout in which cuDNN is fastest. Weights lie in memory as
    all want them, `[outputs, kernel, inputs]`.

    Raises:
        RecipeError: the kernel is even, and so has no middle.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True):
        if kernel % 2 == 0:
            raise RecipeError(f"kernels of convolutions have to be odd, not {kernel}")
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.weight.data = self.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel_size[0]
        if kernel == 1:
            return linear(x, self.weight.squeeze(2), self.bias)
        if x.device.type == "cpu":
            if self._by_toom_cook(x):
                kind = torch.bfloat16 if bfloat16_on_cpu(x) else x.dtype
                with torch.autocast("cpu", enabled=False):
                    rows = x.squeeze(0).float()
                    return toom_cook_convolution(rows, self.weight, self.bias)[None].to(kind)
            x = x.to(torch.bfloat16) if bfloat16_on_cpu(x) else x
            return linear(neighbours(x, kernel), self.weight.transpose(1, 2).flatten(1), self.bias)
        image = x.unsqueeze(1).permute(0, 3, 1, 2)
        y = F.conv2d(image, self.weight.unsqueeze(2), self.bias, padding=(0, kernel // 2))
        return y.permute(0, 2, 3, 1).squeeze(1)

    def _by_toom_cook(self, x: Tensor) -> bool:
        # In training alone: a tile mixes neighbouring utterances, whose frames cancel only up to
        # rounding, and evaluation must not depend on what an utterance is batched with.
        kernel = self.kernel_size[0]
        wide = min(self.in_channels, self.out_channels) >= WIDE
        if not (self.training and len(x) == 1 and wide and kernel <= LONGEST):
            return False
        if bfloat16_on_cpu(x):
            return kernel >= LONG and not multiplies_tiles() and self.weight.dtype == torch.float32
        return x.dtype == torch.float32


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
    """Adds sinusoidal positions, scaled by a learnt factor where `scaled` (Li et al. 2019).

    Raises:
        RecipeError: the number of channels is odd.
    """

    def __init__(self, channels: int, scaled: bool):
        if channels % 2:
            raise RecipeError(f"model.hidden={channels}: positions need an even number of channels")
        super().__init__()
        self.channels = channels
        self.scale = nn.Parameter(torch.ones(())) if scaled else 1.0

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """`x` `[1, rows, channels]`, and which step of its sequence each row is, `[rows]`."""
        table = sinusoids(step.max() + 1, self.channels, x.device)[step]
        return x + (self.scale * table).to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention within each sequence of packed rows.

    Raises:
        RecipeError: the heads cannot share the channels.
    """

    def __init__(self, channels: int, heads: int, dropout: float):
        if channels % heads:
            raise RecipeError(f"{heads} heads of attention cannot share {channels} channels")
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels)
        self.value = Linear(channels, channels)
        self.output = Linear(channels, channels)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """`[1, rows, channels]` to the same; meaningless in the rows of no sequence."""
        layers = (self.query, self.key, self.value)
        weight = torch.cat([layer.weight for layer in layers])
        rows = linear(x, weight, torch.cat([layer.bias for layer in layers]))
        products = packing.products
        contexts = [
            self._attend(batch, mask)
            for batch, mask in zip(products.split(rows), products.masks, strict=True)
        ]
        return self.output(products.join(contexts))

    def _attend(self, rows: Tensor, mask: Tensor) -> Tensor:
        """`[sequences, steps, 3 channels]` of queries, keys and values to `[…, channels]`."""
        share = self.dropout if self.training else 0.0
        # Made contiguous at once, where each product would copy its own.
        heads = rows.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
        if rows.is_cuda or torch.jit.is_tracing():
            query, key, value = heads.unbind()
            context = F.scaled_dot_product_attention(
                query, key, value, mask[:, None, None, :], share
            )
        else:
            # On CPUs the masked kernel of torch is slower than two plain matrix products.
            # Small ones are made in float32, which compiles no kernel for each size (see `linear`).
            large = rows.shape[1] >= 256
            query, key, value = heads if large else heads.float()
            with torch.autocast("cpu", enabled=large and bfloat16_on_cpu(rows)):
                scores = query / math.sqrt(query.shape[3]) @ key.transpose(2, 3)
                scores = scores.masked_fill_(~mask[:, None, None, :], -torch.inf)
                context = dropout(scores.softmax(-1), share) @ value
        return context.transpose(1, 2).flatten(2)


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
        self.pre = chosen("model.norm", norm, NORMS)
        self.attention = SelfAttention(channels, heads, dropout["attention"]) if attention else None
        self.attention_norm = nn.LayerNorm(channels) if attention else None
        self.expand = TimeConv1d(channels, ffn_channels, kernels[0])
        self.contract = TimeConv1d(ffn_channels, channels, kernels[1])
        self.ffn_norm = nn.LayerNorm(channels)
        self.hidden_dropout = Dropout(dropout["hidden"])
        self.residual_dropout = Dropout(dropout["residual"])

    def _feed_forward(self, x: Tensor, packing: Packing) -> Tensor:
        hidden = self.hidden_dropout(F.relu(self.expand(x)))
        if self.contract.kernel_size[0] > 1:
            hidden = hidden * packing.present
        return self.contract(hidden)

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed `[1, rows, channels]` to the same, zero outside the sequences."""
        if self.attention is not None:
            entering = self.attention_norm(x) if self.pre else x
            x = x + self.residual_dropout(self.attention(entering, packing))
            if not self.pre:
                x = self.attention_norm(x) * packing.inside
        entering = self.ffn_norm(x) * packing.inside if self.pre else x
        x = x + self.residual_dropout(self._feed_forward(entering, packing))
        if not self.pre:
            x = self.ffn_norm(x)
        return x * packing.inside
