"""Convolution over time by 5 products where the plain sum takes 9, or by 25 where it takes 81.

Three outputs of three taps are coefficients of a product of two quadratic polynomials, which is
found from its values at five points: Toom and Cook's algorithm, transposed (Winograd 1980; for
images Lavin and Gray 2016, arXiv 1509.09308). Nine outputs of nine taps are three threes of three
threes, and so it applies twice.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Tiling:
    """How the outputs of a tile, as many as there are taps, are computed."""

    evaluation: Tensor
    """of taps, `[points, taps]`; transposed it gives outputs from products"""
    transform: Tensor
    """of the frames that the tile sees, `[points, window]`"""


def _evaluation(coefficients: int) -> Tensor:
    """Values at five points of a polynomial from its coefficients, `[5, coefficients]`."""
    points = torch.tensor([0.0, 1.0, -1.0, 2.0], dtype=torch.float64)
    finite = points[:, None] ** torch.arange(coefficients)
    infinite = torch.eye(coefficients, dtype=torch.float64)[-1:]
    return torch.cat([finite, infinite])


def _nested(tiling: Tiling) -> Tiling:
    """That of a tile of tiles: as many of them as each has outputs."""
    points, window = tiling.transform.shape
    taps = tiling.evaluation.shape[1]
    outer, inner = tiling.transform[:, None], tiling.transform
    transform = inner.new_zeros(points, points, taps * (window - 1) + window)
    for i in range(window):
        transform[:, :, taps * i : taps * i + window] += outer[:, :, i, None] * inner
    return Tiling(torch.kron(tiling.evaluation, tiling.evaluation), transform.flatten(0, 1))


THREE = Tiling(_evaluation(3), torch.linalg.inv(_evaluation(5)).T)
"""Three outputs by 5 products."""
NINE = _nested(THREE)
"""Nine outputs by 25 products."""


class _Products(Function):
    """One matrix product for each point; torch's own batches of them are slower by a sixth."""

    @staticmethod
    def forward(context, frames: Tensor, taps: Tensor) -> Tensor:
        """`[tiles, points, inputs]`, `[outputs, points, inputs]` to `[tiles, points, outputs]`."""
        context.save_for_backward(frames, taps)
        products = frames.new_empty(*frames.shape[:2], len(taps))
        for point in range(frames.shape[1]):
            torch.mm(frames[:, point], taps[:, point].T, out=products[:, point])
        return products

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        frames, taps = context.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again, as GraSP does
            of_frames = torch.einsum("tpo,opi->tpi", gradient, taps)
            return of_frames, torch.einsum("tpo,tpi->opi", gradient, frames)
        of_frames = torch.empty_like(frames) if context.needs_input_grad[0] else None
        of_taps = torch.empty_like(taps) if context.needs_input_grad[1] else None
        for point in range(frames.shape[1]):
            if of_frames is not None:
                torch.mm(gradient[:, point], taps[:, point], out=of_frames[:, point])
            if of_taps is not None:
                torch.mm(gradient[:, point].T, frames[:, point], out=of_taps[:, point])
        return of_frames, of_taps


def toom_cook_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.conv1d` with "same" padding, of rows `[time, inputs]` to `[time, outputs]`.

    In float32 its error is two to three times that of the plain sum for kernels of 3, and up to
    six times for longer ones, some 1.5e-6 of the values.

    Args:
        weight: `[outputs, inputs, kernel]`, the kernel odd.
        bias: `[outputs]`.
    """
    kernel = weight.shape[2]
    tiling = THREE if kernel <= 3 else NINE
    evaluation, transform = tiling.evaluation.to(x.dtype), tiling.transform.to(x.dtype)
    size, window = evaluation.shape[1], transform.shape[1]
    groups, tiles = -(-kernel // size), -(-len(x) // size)
    windows = tiles + groups - 1
    after = size * (windows + 1) - kernel // 2 - len(x)
    padded = F.pad(x, (0, 0, kernel // 2, after)).unflatten(0, (windows + 1, size))
    frames = transform @ torch.cat([padded[:-1], padded[1:, : window - size]], 1)
    taps = F.pad(weight.transpose(1, 2), (0, 0, 0, size * groups - kernel))
    taps = evaluation @ taps.unflatten(1, (groups, size))
    # A group of taps sees in each tile the window that the first one sees some tiles later.
    products = _Products.apply(frames[:tiles], taps[:, 0])
    for group in range(1, groups):
        products = products + _Products.apply(frames[group:][:tiles], taps[:, group])
    y = (evaluation.T @ products).flatten(0, 1)[: len(x)]
    return y if bias is None else y + bias
