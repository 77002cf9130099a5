"""Masks as bits: an int8 of -1, all bits set, keeps a weight and one of 0 prunes it."""

import torch
from torch import Tensor, nn

_INTEGER_OF_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PART = 2**18


def as_bits(mask: Tensor, like: Tensor) -> Tensor:
    """A bool mask, True = kept, laid out in memory as `like` is: passes over both are fast then."""
    return torch.empty_like(like, dtype=torch.int8).copy_(mask).neg_()


def clear_pruned(values: Tensor, keep: Tensor) -> None:
    """Zero what is pruned, in place: faster than a product, and rid of NaNs as well."""
    integers = values.view(_INTEGER_OF_SIZE[values.element_size()])
    if values.device.type != "cpu" or values.stride() != keep.stride():
        integers.bitwise_and_(keep)
        return
    # On CPUs torch is slow at operations on two types: cast by parts that stay in the cache.
    flat, bits = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (integers, keep))
    for some, kept in zip(flat.split(_PART), bits.split(_PART), strict=True):
        some.bitwise_and_(kept.to(some.dtype))


def packed(keep: Tensor) -> Tensor:
    """Eight weights to a byte, flat, for checkpoints."""
    bits = nn.functional.pad(-keep.flatten(), (0, -keep.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(8, device=keep.device)).sum(1).to(torch.uint8)


def unpacked(packed: Tensor, like: Tensor) -> Tensor:
    """The mask that was packed, of the shape, on the device and in the layout of `like`."""
    bits = (packed.to(like.device)[:, None] >> torch.arange(8, device=like.device)) & 1
    return as_bits(bits.flatten()[: like.numel()].view(like.shape), like)
