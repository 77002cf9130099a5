"""Building blocks: linear layer, dropout, convolution, positions, self-attention and FFT block."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastspeech2 import kernels
from fastspeech2.packing import AttentionGroups, Packing
from fastspeech2.settings import DropoutSettings
from pipeline.errors import RecipeError

NORMS = {"pre": True, "post": False}
"""Whether LayerNorm normalises the input of a sublayer, rather than its output."""


class Linear(nn.Linear):
    """`nn.Linear` by the kernel of this name."""

    def forward(self, x: Tensor) -> Tensor:
        return kernels.linear(x, self.weight, self.bias)


class Dropout(nn.Dropout):
    """`nn.Dropout` by the kernel of this name."""

    def forward(self, x: Tensor) -> Tensor:
        return kernels.dropout(x, self.p, self.training)


class TimeConv1d(nn.Conv1d):
    """`nn.Conv1d` with "same" padding over `[batch, time, channels]`.

    The weights keep PyTorch's shape `[outputs, inputs, kernel]` and lie in memory as
    `[outputs, kernel, inputs]`, the order in which the kernels read them.

    Raises:
        RecipeError: the kernel size is even, so "same" padding is not symmetric.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True):
        if kernel % 2 == 0:
            raise RecipeError(f"a convolution has an even kernel of {kernel}: choose an odd one")
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        self.weight.data = self.weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return kernels.time_convolution(x, self.weight, self.bias, self.training)


def sinusoids(
    length: int | Tensor, channels: int, device: torch.device, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Sinusoidal positions `[length, channels]` (Vaswani et al. 2017), for any length.

    Sines are the even channels and cosines the odd ones, as in ESPnet and ming024/FastSpeech2. In
    float32, which ESPnet computes in, the sine of a large angle is wrong in its fourth digit.
    """
    position = torch.arange(length, device=device, dtype=dtype)[:, None]
    even = torch.arange(0, channels, 2, device=device, dtype=dtype)
    angle = position * torch.exp(even * (-math.log(10000.0) / channels))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1).float()


POSITIONS = {
    "sinusoid": (False, False),
    "scaled_sinusoid": (True, False),
    "amplified": (False, True),
}
"""Whether a learnt factor scales the positions (Li et al. 2019, ESPnet's `use_scaled_pos_enc`), and
whether the square root of the number of channels scales what they are added to (Vaswani et al. 2017
and ESPnet without that setting)."""


class Positions(nn.Module):
    """Adds sinusoidal positions.

    Args:
        channels: of the input.
        kind: a name in `POSITIONS`.
        float32: compute the sinusoids in float32, as ESPnet does.

    Raises:
        RecipeError: the number of channels is odd.
    """

    def __init__(self, channels: int, kind: str, float32: bool = False):
        if channels % 2:
            raise RecipeError(f"model.hidden={channels}: positions need an even number of channels")
        super().__init__()
        scaled, amplified = POSITIONS[kind]
        self.channels, self.dtype = channels, torch.float32 if float32 else torch.float64
        self.scale = nn.Parameter(torch.ones(())) if scaled else 1.0
        self.factor = math.sqrt(channels) if amplified else None

    def forward(self, x: Tensor, packing: Packing) -> Tensor:
        """Packed `[1, rows, channels]` to the same."""
        table = sinusoids(packing.steps, self.channels, x.device, self.dtype)[packing.step]
        x = x if self.factor is None else x * self.factor
        return x + (self.scale * table).to(x.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention within each sequence of packed rows.

    Raises:
        RecipeError: the number of channels is not a multiple of the number of heads.
    """

    def __init__(self, channels: int, heads: int, dropout: float):
        if channels % heads:
            raise RecipeError(
                f"{channels} channels cannot be split into {heads} attention heads: choose a "
                "number of channels that is a multiple of the number of heads"
            )
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = Linear(channels, channels)
        self.key = Linear(channels, channels)
        self.value = Linear(channels, channels)
        self.output = Linear(channels, channels)

    def forward(self, x: Tensor, groups: AttentionGroups) -> Tensor:
        """`[1, rows, channels]` to the same; rows of no sequence hold no meaningful values."""
        layers = (self.query, self.key, self.value)
        weight = torch.cat([layer.weight for layer in layers])
        rows = kernels.linear(x, weight, torch.cat([layer.bias for layer in layers]))
        p = self.dropout if self.training else 0.0
        contexts = [
            kernels.attention(group, self.heads, mask, p) for group, mask in groups.split(rows)
        ]
        return self.output(groups.join(contexts))


class FFTBlock(nn.Module):
    """Feed-forward transformer block: self-attention, then two convolutions (Ren et al. 2019).

    Args:
        dropout: probabilities for the `attention` weights, for the `hidden` values between the
            convolutions, and for what is added to the `residual`. ESPnet has all three, ming024
            the last.
        norm: "pre" normalises the input of a sublayer (ESPnet), "post" its output (ming024).
        attention: without it the block consists of its convolutions.
        norm_eps: added to the variances by the LayerNorms.
        concatenate: a linear layer combines the attention with its input, where it would be added
            (`concat_after` in ESPnet).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_channels: int,
        kernel_sizes: tuple[int, int],
        dropout: DropoutSettings,
        norm: str,
        attention: bool,
        norm_eps: float = 1e-5,
        concatenate: bool = False,
    ):
        super().__init__()
        self.pre = NORMS[norm]
        self.attention = SelfAttention(channels, heads, dropout.attention) if attention else None
        self.attention_norm = nn.LayerNorm(channels, norm_eps) if attention else None
        self.combine = Linear(2 * channels, channels) if concatenate else None
        self.expand = TimeConv1d(channels, ffn_channels, kernel_sizes[0])
        self.contract = TimeConv1d(ffn_channels, channels, kernel_sizes[1])
        self.ffn_norm = nn.LayerNorm(channels, norm_eps)
        self.hidden_dropout = Dropout(dropout.hidden)
        self.residual_dropout = Dropout(dropout.residual)

    def forward(self, x: Tensor, packing: Packing, groups: AttentionGroups) -> Tensor:
        """Packed `[1, rows, channels]` to the same, zero outside the sequences."""
        if self.attention is not None:
            residual = self.attention_norm(x) if self.pre else x
            attended = self.attention(residual, groups)
            if self.combine is not None:  # ESPnet has no dropout here
                x = x + self.combine(torch.cat([residual, attended], 2))
            else:
                x = x + self.residual_dropout(attended)
            if not self.pre:
                x = self.attention_norm(x) * packing.kept
        residual = self.ffn_norm(x) * packing.kept if self.pre else x
        x = x + self.residual_dropout(self._feed_forward(residual, packing))
        if not self.pre:
            x = self.ffn_norm(x)
        return x * packing.kept

    def _feed_forward(self, x: Tensor, packing: Packing) -> Tensor:
        hidden = self.hidden_dropout(F.relu(self.expand(x)))
        if self.contract.kernel_size[0] > 1:
            hidden = hidden * packing.present
        return self.contract(hidden)
