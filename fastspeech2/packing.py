"""Sequences of different lengths laid end to end, so that no time is spent on padding.

Two fifths of a random batch of LJSpeech are padding. Packed sequences are separated by gaps of zero
rows, as many as a convolution reaches over. Attention aside, all other layers look at one row at a
time.

A batch's layout is planned once, on the CPU where the batch is made, and travels with the batch: a
training step then never has to read a length back from the device.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from fastspeech2.kernels import select

HOST = torch.device("cpu")
UNEQUAL = 1.25
"""Attention groups sequences whose lengths differ by less than about this factor."""


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """`[batch]` lengths to a `[batch, size]` bool mask, True inside each sequence."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor in a dataclass, its lists and the dataclasses in it."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, list):
        return [map_tensors(each, function) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        names = (field.name for field in fields(value))
        return replace(value, **{n: map_tensors(getattr(value, n), function) for n in names})
    return value


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of `x` `[rows, channels]` in another order, zeros where the index is negative."""
    return x.index_select(0, index.clamp(min=0)).mul_((index >= 0)[:, None])


def moved(value: Any, device: torch.device) -> Any:
    """A copy of a plan on a device."""
    return map_tensors(value, lambda t: t if t.device == device else t.to(device))


@dataclass
class AttentionGroups:
    """Padded batches `[sequences, steps]` of similar lengths, in which attention is computed."""

    index: Tensor
    """row of each step of each group, groups end to end, negative in the padding"""
    inverse: Tensor
    """position of each row among these steps, `[rows]`, negative for a row of no sequence"""
    masks: list[Tensor]
    """`[sequences, steps]` of each group, True inside, where keys are attended to"""

    def split(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each group `[sequences, steps, channels]` of packed rows, and its mask."""
        taken = take_rows(rows.squeeze(0), self.index)
        parts = [taken]
        if len(self.masks) > 1:  # a split would fix the size in a trace
            parts = taken.split([mask.numel() for mask in self.masks])
        for part, mask in zip(parts, self.masks, strict=True):
            yield part.view(*mask.shape, -1), mask

    def join(self, groups: list[Tensor]) -> Tensor:
        """Packed `[1, rows, channels]` of each group `[sequences, steps, channels]`."""
        flat = torch.cat([group.flatten(0, 1) for group in groups])
        return take_rows(flat, self.inverse)[None]


@dataclass
class Packing:
    """Where the steps of a padded batch lie among packed rows."""

    lengths: Tensor
    """of the sequences, `[batch]`"""
    extents: Tensor
    """rows of each sequence, `[batch]`: its length, or more where padding has rows as well"""
    starts: Tensor
    """first row of each sequence, `[batch]`"""
    sequence: Tensor
    """sequence of each row, `[rows]`"""
    step: Tensor
    """step of each row in its sequence, `[rows]`; beyond the extent in the gap after it"""
    steps: int | Tensor
    """one more than the largest step"""
    inside: Tensor
    """`[1, rows, 1]`, True inside the sequences"""
    present: Tensor
    """`[1, rows, 1]`, True except in the gaps"""
    kept: Tensor
    """`[1, rows, 1]`, True where a block's output is kept: `inside`, or `present` for ESPnet's"""

    def pack(self, values: Tensor) -> Tensor:
        """Rows `[1, rows, ...]` of values `[batch, size, ...]`, zero in the gaps."""
        rows = values[self.sequence, self.step.clamp(max=values.shape[1] - 1)][None]
        return rows * (self.present if rows.dim() == 3 else self.present[:, :, 0])

    def unpack(self, rows: Tensor, size: int) -> Tensor:
        """`[batch, size, channels]` of `[1, rows, channels]`, zero where there is no row."""
        steps = torch.arange(size, device=rows.device)
        index = torch.where(steps < self.extents[:, None], self.starts[:, None] + steps, -1)
        return take_rows(rows.squeeze(0), index.flatten()).view(*index.shape, -1)

    def repeated(self, times: int, lengths: Tensor) -> "Packing":
        """The packing of sequences of these lengths, with `times` rows for each row of this one."""
        rows = torch.arange(self.step.shape[0] * times, device=lengths.device)
        coarse = rows // times
        return _packing(
            lengths,
            self.extents * times,
            self.starts * times,
            self.sequence[coarse],
            self.step[coarse] * times + rows % times,
            self.steps * times,
            False,
        )


@dataclass
class PhonePlan:
    """How a batch's phones are laid out."""

    packing: Packing
    attention: AttentionGroups


@dataclass
class FramePlan:
    """How a batch's frames are laid out, for the durations that it was planned with."""

    frames: int | Tensor
    """of the longest utterance"""
    lengths: Tensor
    """frames of each utterance, `[batch]`"""
    packing: Packing
    """of frames"""
    groups: Packing
    """of the decoder's steps, each of `reduction_factor` frames"""
    attention: AttentionGroups
    """over the decoder's steps"""
    phone_row: Tensor
    """packed row of the phone that each row of frames belongs to, `[rows]`"""
    phone_position: Tensor
    """place of each frame in its phone, `[1, rows, 3]`: see `position_in_phone`"""
    present_rows: Tensor
    """rows of frames that are in no gap, `[present]`"""
    present_places: Tensor
    """position of each row of frames among these, `[rows]`, negative in the gaps"""


@dataclass
class Plan:
    """The layout of a whole batch."""

    phones: PhonePlan
    frames: FramePlan


def pack_lengths(
    lengths: Tensor, gap: int, size: int | Tensor | None = None, keep_padding: bool = False
) -> Packing:
    """Lay sequences end to end.

    Args:
        lengths: `[batch]`.
        gap: zero rows after each sequence.
        size: give rows to the padding too, up to this many steps.
        keep_padding: blocks do not set the padding to zero.
    """
    extents = lengths if size is None else torch.zeros_like(lengths) + size
    ends = (extents + gap).cumsum(0)
    starts = ends - extents - gap
    rows = torch.arange(ends[-1], device=lengths.device)
    sequence = (rows[:, None] >= ends).sum(1)
    steps = _number(extents.max() + gap)
    step = rows - starts[sequence]
    return _packing(lengths, extents, starts, sequence, step, steps, keep_padding)


def _packing(
    lengths: Tensor,
    extents: Tensor,
    starts: Tensor,
    sequence: Tensor,
    step: Tensor,
    steps: int | Tensor,
    keep_padding: bool,
) -> Packing:
    inside, present = ((step < rows[sequence])[None, :, None] for rows in (lengths, extents))
    kept = present if keep_padding else inside
    return Packing(lengths, extents, starts, sequence, step, steps, inside, present, kept)


def _number(value: Tensor) -> int | Tensor:
    """An int; in a trace the tensor itself, so that the traced graph computes it."""
    return value if torch.jit.is_tracing() else int(value)


def attention_groups(packing: Packing, by_length: bool) -> AttentionGroups:
    """Padded batches of packed sequences, of similar lengths each, or all sequences in one.

    Args:
        packing: of the sequences.
        by_length: group sequences of similar lengths.
    """
    lengths, extents, device = packing.lengths, packing.extents, packing.lengths.device
    groups = [torch.arange(lengths.shape[0], device=device)]
    if by_length:
        relative = extents / extents.min().clamp(min=1)
        kind = (relative.clamp(min=1).log() / math.log(UNEQUAL)).long()
        groups = [(kind == number).nonzero()[:, 0] for number in kind.unique()]
    masks, indices = [], []
    inverse = torch.full_like(packing.step, -1)
    offset = 0
    for group in groups:
        size = _number(extents[group].max())
        mask, rows = (padding_mask(each[group], size) for each in (lengths, extents))
        steps = torch.arange(mask.shape[1], device=device)
        index = torch.where(rows, packing.starts[group, None] + steps, -1).flatten()
        order = torch.arange(index.shape[0], device=device) + offset
        inverse = inverse.index_copy(0, index[index >= 0], order[index >= 0])
        offset = offset + index.shape[0]
        masks.append(mask)
        indices.append(index)
    return AttentionGroups(torch.cat(indices), inverse, masks)


def plan_phones(
    lengths: Tensor,
    size: int,
    gap: int,
    device: torch.device,
    padded: bool = False,
    keep_padding: bool = False,
) -> PhonePlan:
    """Plan the layout of phones on the CPU, wherever the lengths are.

    Args:
        lengths: phones of each utterance, `[batch]`.
        size: phones of the padded batch.
        gap: zero rows after each utterance.
        device: where the model runs.
        padded: give rows to the padding too.
        keep_padding: see `pack_lengths`.
    """
    packing = pack_lengths(moved(lengths, HOST), gap, size if padded else None, keep_padding)
    return PhonePlan(packing, attention_groups(packing, select.use_length_groups(device)))


def plan_frames(
    phones: Packing,
    durations: Tensor,
    reduction_factor: int,
    gap: int,
    device: torch.device,
    padded: bool = False,
    keep_padding: bool = False,
) -> FramePlan:
    """Plan the layout of frames on the CPU, wherever the durations are.

    Args:
        phones: packing of the phones.
        durations: frames of each phone, `[batch, phones]`, zero in the padding.
        reduction_factor: frames of each of the decoder's steps.
        gap: zero rows after each utterance, in steps of the decoder.
        device: where the model runs.
        padded: give rows to the padding too.
        keep_padding: see `pack_lengths`.
    """
    phones, durations = moved(phones, HOST), moved(durations, HOST)
    lengths = durations.sum(1)
    frames = _number(lengths.max())
    steps = (frames + reduction_factor - 1) // reduction_factor
    groups = pack_lengths(
        (lengths + reduction_factor - 1) // reduction_factor,
        gap,
        steps if padded else None,
        keep_padding,
    )
    packing = groups.repeated(reduction_factor, lengths)
    index, ends = phone_of_frame(durations, steps * reduction_factor)
    phone = index[packing.sequence, packing.step.clamp(max=index.shape[1] - 1)]
    last_row = phones.step.shape[0] - 1
    present = packing.present[0, :, 0]
    return FramePlan(
        frames=frames,
        lengths=lengths,
        packing=packing,
        groups=groups,
        attention=attention_groups(groups, select.use_length_groups(device)),
        phone_row=(phones.starts[packing.sequence] + phone).clamp(max=last_row),
        phone_position=packing.pack(position_in_phone(durations, index, ends)),
        present_rows=present.nonzero()[:, 0],
        present_places=torch.where(present, present.cumsum(0) - 1, -1),
    )


def phone_of_frame(durations: Tensor, frames: int | Tensor) -> tuple[Tensor, Tensor]:
    """Find the phone that each frame belongs to, without a loop.

    Args:
        durations: frames of each phone, `[batch, phones]`, zero in the padding.
        frames: frames of the longest utterance.

    Returns:
        Phone indices `[batch, frames]`, and the ends of the phones `[batch, phones]` in frames.
    """
    ends = durations.cumsum(1)
    # Counts the phones that end at each frame. Those that end with the batch need one frame more.
    ended = torch.zeros_like(ends[:, :1]).repeat(1, frames + 1)
    ended = ended.scatter_add(1, ends, torch.ones_like(ends))[:, :frames].cumsum(1)
    return ended.clamp(max=durations.shape[1] - 1), ends


def position_in_phone(durations: Tensor, index: Tensor, ends: Tensor) -> Tensor:
    """Place of each frame in its phone, `[batch, frames, 3]`: from its start, to its end, length.

    The first two are fractions of the phone, the last is the logarithm of its duration in frames.
    """
    duration = durations.gather(1, index).clamp(min=1)
    frame = torch.arange(index.shape[1], device=index.device)
    to_end = (ends.gather(1, index) - frame - 0.5) / duration
    return torch.stack([1.0 - to_end, to_end, duration.float().log()], dim=2)
