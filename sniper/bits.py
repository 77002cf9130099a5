"""Masks as bits: an int8 of -1, all bits set, keeps a weight and one of 0 prunes it."""

import torch
from torch import Tensor, nn

_INTEGER_OF_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def clear_pruned(values: Tensor, keep: Tensor) -> None:
    """Zero what is pruned, in place: faster than a product, and rid of NaNs as well."""
    values.view(_INTEGER_OF_SIZE[values.element_size()]).bitwise_and_(keep)


def packed(keep: Tensor) -> Tensor:
    """Eight weights to a byte, flat, for checkpoints."""
    bits = nn.functional.pad(-keep.flatten(), (0, -keep.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(8, device=keep.device)).sum(1).to(torch.uint8)


def unpacked(packed: Tensor, like: Tensor) -> Tensor:
    """The mask that was packed, of the shape and on the device of `like`."""
    bits = (packed.to(like.device)[:, None] >> torch.arange(8, device=like.device)) & 1
    return -bits.flatten()[: like.numel()].view(like.shape).to(torch.int8)
