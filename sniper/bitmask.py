"""Bit masks: int8 tensors of -1 (all bits set) where a weight is kept and 0 where it is pruned."""

import torch
from torch import Tensor, nn

_INTEGER_OF_SIZE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SMALL = 2**16
_SMALL_DTYPES = {
    torch.float32: torch.int32,
    torch.float64: torch.int64,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}
_CHUNK = 2**18


def bitmask(mask: Tensor, like: Tensor) -> Tensor:
    """Turn a bool mask (True = kept) into a bit mask with the memory layout of `like`.

    With equal layouts, one pass over both tensors reads memory in order. The masks of small tensors
    have integers of the size of their values, which are fastest; those of large ones have bytes.
    """
    dtype = _SMALL_DTYPES.get(like.dtype, torch.int8) if like.numel() <= _SMALL else torch.int8
    return torch.empty_like(like, dtype=dtype, requires_grad=False).copy_(mask).neg_()


def zero_pruned(values: Tensor, keep: Tensor) -> None:
    """Zero the pruned entries of `values` in place.

    A bitwise AND is faster than a product with the mask, and it clears NaNs too.
    """
    values = values.detach()
    if keep.dtype is _SMALL_DTYPES.get(values.dtype) and not values.is_sparse:
        values.view(keep.dtype).bitwise_and_(keep)
        return
    if values.is_complex():
        values, keep = torch.view_as_real(values), keep[..., None]
    if values.is_sparse:  # of shape [rows, ...], where some rows may occur several times
        values, keep = values._values(), keep[tuple(values._indices())]
    integers = values.view(_INTEGER_OF_SIZE[values.element_size()])
    if values.device.type != "cpu":
        integers.bitwise_and_(keep)
        return
    # On a CPU, torch is slow at operations on two types: cast in chunks that fit into the cache.
    if values.numel() <= _CHUNK or values.stride() != keep.stride():
        integers.bitwise_and_(keep.to(integers.dtype))
        return
    flat, bits = (tensor.as_strided((tensor.numel(),), (1,)) for tensor in (integers, keep))
    for chunk, kept in zip(flat.split(_CHUNK), bits.split(_CHUNK), strict=True):
        chunk.bitwise_and_(kept.to(chunk.dtype))


def pack(mask: Tensor) -> Tensor:
    """Pack a mask into uint8 `[ceil(weights / 8)]`, with the first weight in the lowest bit.

    `numpy.unpackbits(packed, bitorder="little")` reads it too.
    """
    bits = nn.functional.pad((mask != 0).flatten().byte(), (0, -mask.numel() % 8)).view(-1, 8)
    return (bits << torch.arange(8, dtype=torch.uint8, device=mask.device)).sum(1).byte()


def unpack(packed: Tensor, like: Tensor) -> Tensor:
    """Unpack a bit mask to the shape, device and memory layout of `like`."""
    bits = (packed.to(like.device)[:, None] >> torch.arange(8, device=like.device)) & 1
    return bitmask(bits.flatten()[: like.numel()].view(like.shape), like)
