"""Convolution over time by five products where the plain sum takes nine.

Three outputs of three taps are coefficients of a product of two quadratic polynomials, which is
found from its values at five points: Toom and Cook's algorithm, transposed (Winograd 1980; for
images Lavin and Gray 2016, arXiv 1509.09308). Longer kernels are groups of three taps. Tiles of
outputs are three frames apart, as groups are, so all groups share the transformed frames.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

TILE = 3
"""Outputs of a tile, and taps of a group."""
WINDOW = 2 * TILE - 1
"""Frames that a tile sees of a group, and products that it costs."""
POINTS = (0.0, 1.0, -1.0, 2.0)
"""The fifth is infinity. Small ones, since large powers lose digits."""


def _evaluation(coefficients: int) -> Tensor:
    """Values at all points from so many coefficients of a polynomial, `[5, coefficients]`."""
    finite = torch.tensor(POINTS, dtype=torch.float64)[:, None] ** torch.arange(coefficients)
    infinite = torch.eye(coefficients, dtype=torch.float64)[-1:]
    return torch.cat([finite, infinite])


EVALUATION = _evaluation(TILE)
"""`[5, 3]`, of taps, and of gradients of outputs; transposed it gives outputs of products."""
TRANSFORM = torch.linalg.inv(_evaluation(WINDOW)).T
"""`[5, 5]`, of the frames of a window."""


class _Convolution(Function):
    @staticmethod
    def forward(context, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        outputs, inputs, kernel = weight.shape
        groups, tiles = -(-kernel // TILE), -(-len(x) // TILE)
        windows = tiles + groups - 1  # each group sees those of the one before, a tile later
        before = kernel // 2
        after = TILE * windows + WINDOW - TILE - before - len(x)
        frames = F.pad(x, (0, 0, before, after))
        frames = frames.as_strided((windows, WINDOW, inputs), (TILE * inputs, inputs, 1))
        frames = TRANSFORM.to(x.dtype) @ frames
        taps = F.pad(weight.transpose(1, 2), (0, 0, 0, TILE * groups - kernel))
        taps = EVALUATION.to(x.dtype) @ taps.unflatten(1, (groups, TILE))
        products = x.new_zeros(tiles, WINDOW, outputs)
        for group in range(groups):
            for point in range(WINDOW):
                shifted = frames[group : group + tiles, point]
                products[:, point].addmm_(shifted, taps[:, group, point].T)
        y = (EVALUATION.T.to(x.dtype) @ products).flatten(0, 1)[: len(x)]
        context.save_for_backward(frames, taps)
        context.kernel = kernel
        return y if bias is None else y + bias

    @staticmethod
    @once_differentiable
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        frames, taps = context.saved_tensors
        groups = taps.shape[1]
        tiles = len(frames) - groups + 1
        products = F.pad(gradient, (0, 0, 0, TILE * tiles - len(gradient)))
        products = EVALUATION.to(gradient.dtype) @ products.unflatten(0, (tiles, TILE))
        of_frames, of_taps = torch.zeros_like(frames), torch.empty_like(taps)
        for group in range(groups):
            for point in range(WINDOW):
                shifted = slice(group, group + tiles), point
                torch.mm(products[:, point].T, frames[shifted], out=of_taps[:, group, point])
                of_frames[shifted].addmm_(products[:, point], taps[:, group, point])
        of_taps = (EVALUATION.T.to(gradient.dtype) @ of_taps).flatten(1, 2)
        of_frames = TRANSFORM.T.to(gradient.dtype) @ of_frames
        # Windows overlap: the last two frames of each are the first two of the next.
        of_x = gradient.new_zeros(len(frames) + 1, TILE, frames.shape[2])
        of_x[:-1] = of_frames[:, :TILE]
        of_x[1:, : WINDOW - TILE] += of_frames[:, TILE:]
        of_x = of_x.flatten(0, 1)[context.kernel // 2 :][: len(gradient)]
        of_bias = gradient.sum(0) if context.needs_input_grad[2] else None
        return of_x, of_taps[:, : context.kernel].transpose(1, 2), of_bias


def toom_cook_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.conv1d` with "same" padding, of rows `[time, inputs]` to `[time, outputs]`.

    In float32 its error is two to three times that of the plain sum, some 6e-7 of the values.
    Gradients cannot be differentiated again.

    Args:
        weight: `[outputs, inputs, kernel]`, the kernel odd.
        bias: `[outputs]`.
    """
    return _Convolution.apply(x, weight, bias)
