"""Sequences of different lengths laid end to end, so that no time goes into padding.

Random batches of LJSpeech are two fifths padding. Between sequences lie as many rows of zeros as a
convolution reaches over; other layers but attention look at one row at a time.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import Function

UNEQUAL = 1.25
"""How many times as long as the shortest the longest sequence of one attention product may be."""


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """`[batch]` lengths to a `[batch, size]` bool mask, True inside each sequence."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _take(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index.clamp(min=0)).mul_((index >= 0)[:, None])


class _Rearrange(Function):
    """Taking rows whose gradient is taken back; torch's own would add row by row."""

    @staticmethod
    def forward(context, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        context.save_for_backward(index, inverse)
        return _take(x, index)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = context.saved_tensors
        return rearrange(gradient, inverse, index), None, None


def rearrange(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Rows `[rows, channels]` in another order; where the index is negative, zeros.

    Args:
        index: from which row each new row comes, `[new rows]`; none may come twice.
        inverse: to which new row each row goes, `[rows]`, negative where to none.
    """
    if not torch.is_grad_enabled():
        return _take(x, index)
    return _Rearrange.apply(x, index, inverse)


@dataclass
class Products:
    """The padded batches `[sequences, steps]` in which attention is computed, of like lengths."""

    index: Tensor
    """row of each step of each batch, all batches end to end, negative in the padding"""
    inverse: Tensor
    """where among these each row stands, `[rows]`, negative for none"""
    masks: list[Tensor]
    """`[sequences, steps]` of each batch, True inside"""

    def split(self, rows: Tensor) -> Iterator[Tensor]:
        """Each batch `[sequences, steps, channels]` of packed `[1, rows, channels]`."""
        taken = rearrange(rows.squeeze(0), self.index, self.inverse)
        parts = [taken]
        if len(self.masks) > 1:  # else a trace would fix the size
            parts = taken.split([mask.numel() for mask in self.masks])
        return (part.view(*mask.shape, -1) for part, mask in zip(parts, self.masks, strict=True))

    def join(self, batches: list[Tensor]) -> Tensor:
        """Packed `[1, rows, channels]` of each batch `[sequences, steps, channels]`."""
        flat = torch.cat([batch.flatten(0, 1) for batch in batches])
        return rearrange(flat, self.inverse, self.index)[None]


@dataclass
class Packing:
    """Where the steps of a padded batch lie among packed rows; made by `pack_lengths`."""

    lengths: Tensor
    """of the sequences, `[batch]`"""
    extents: Tensor
    """rows of each sequence, `[batch]`: its length, or more where padding has rows as well"""
    starts: Tensor
    """first row of each sequence, `[batch]`"""
    sequence: Tensor
    """of each row, `[rows]`"""
    step: Tensor
    """in its sequence, of each row, `[rows]`; beyond the extent in the gap after it"""

    @cached_property
    def inside(self) -> Tensor:
        """`[1, rows, 1]`, True inside the sequences."""
        return (self.step < self.lengths[self.sequence])[None, :, None]

    @cached_property
    def present(self) -> Tensor:
        """`[1, rows, 1]`, True but in the gaps."""
        return (self.step < self.extents[self.sequence])[None, :, None]

    def pack(self, values: Tensor) -> Tensor:
        """Rows `[1, rows, ...]` of given values `[batch, size, ...]`, zero in the gaps."""
        rows = values[self.sequence, self.step.clamp(max=values.shape[1] - 1)][None]
        return rows * (self.present if rows.dim() == 3 else self.present[:, :, 0])

    def unpack(self, rows: Tensor, size: int) -> Tensor:
        """`[batch, size, channels]` of `[1, rows, channels]`, zero where there is no row."""
        steps = torch.arange(size, device=rows.device)
        index = torch.where(steps < self.extents[:, None], self.starts[:, None] + steps, -1)
        place = self.sequence * size + self.step
        inverse = torch.where(self.present[0, :, 0] & (self.step < size), place, -1)
        return rearrange(rows.squeeze(0), index.flatten(), inverse).view(*index.shape, -1)

    def repeated(self, times: int, lengths: Tensor) -> "Packing":
        """That of sequences of `lengths` which has `times` rows for each one of this."""
        rows = torch.arange(self.step.shape[0] * times, device=lengths.device)
        coarse = rows // times
        return Packing(
            lengths,
            self.extents * times,
            self.starts * times,
            self.sequence[coarse],
            self.step[coarse] * times + rows % times,
        )

    @cached_property
    def present_rows(self) -> tuple[Tensor, Tensor]:
        """For `rearrange`: the rows that are in no gap, and where each row stands among them."""
        present = self.present[0, :, 0]
        place = present.cumsum(0) - 1
        return present.nonzero()[:, 0], torch.where(present, place, -1)

    @cached_property
    def products(self) -> Products:
        """How attention is computed: on CPUs sequences of like lengths at a time."""
        if self.lengths.is_cuda or torch.jit.is_tracing():
            groups = [torch.arange(self.lengths.shape[0], device=self.lengths.device)]
        else:
            relative = self.lengths / self.lengths.min().clamp(min=1)
            kind = (relative.clamp(min=1).log() / math.log(UNEQUAL)).long()
            groups = [(kind == number).nonzero()[:, 0] for number in kind.unique()]
        masks, indices = [], []
        inverse = torch.full_like(self.step, -1)
        offset = 0
        for group in groups:
            mask = padding_mask(self.lengths[group], self.lengths[group].max())
            steps = torch.arange(mask.shape[1], device=mask.device)
            index = torch.where(mask, self.starts[group, None] + steps, -1).flatten()
            order = torch.arange(index.shape[0], device=index.device) + offset
            inverse = inverse.index_copy(0, index[index >= 0], order[index >= 0])
            offset = offset + index.shape[0]
            masks.append(mask)
            indices.append(index)
        return Products(torch.cat(indices), inverse, masks)


def pack_lengths(lengths: Tensor, gap: int, size: int | Tensor | None = None) -> Packing:
    """Lay sequences end to end.

    Args:
        lengths: `[batch]`.
        gap: rows of zeros after each sequence.
        size: give rows to the padding, too, up to this many steps.
    """
    extents = lengths if size is None else torch.zeros_like(lengths) + size
    ends = (extents + gap).cumsum(0)
    starts = ends - extents - gap
    rows = torch.arange(ends[-1], device=lengths.device)
    sequence = (rows[:, None] >= ends).sum(1)
    return Packing(lengths, extents, starts, sequence, rows - starts[sequence])
