"""Masked models for use elsewhere, and masks from elsewhere."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sniper.bitmask import pack, unpack
from sniper.layers import unwrapped
from sniper.masks import Masks
from sniper.sniper import Sniper

ENTRY = 512
"""Bytes that `torch.save` needs for an entry of its own, roughly."""


def compact(state: Mapping[str, Any]) -> dict[str, Any]:
    """Store tensors with zeros as bits and kept values, for `torch.save`; see `expand`.

    Args:
        state: of a model or anything else; what is no tensor, or would not get smaller, stays.
    """
    return {name: _compact(value) for name, value in state.items()}


def _compact(value: Any) -> Any:
    if not (isinstance(value, Tensor) and value.is_floating_point() and not value.is_sparse):
        return value
    kept = (value != 0) | value.signbit()  # -0.0 is kept, so that all bits are the same afterwards
    size = int(kept.sum()) * value.element_size() + value.numel() // 8 + ENTRY
    if size >= value.nbytes:
        return value
    return {"shape": list(value.shape), "bits": pack(kept), "values": value[kept]}


def expand(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `compact` was given, bit for bit."""
    return {name: _expand(value) for name, value in state.items()}


def _expand(value: Any) -> Any:
    if not (isinstance(value, Mapping) and value.keys() == {"shape", "bits", "values"}):
        return value
    values = value["values"]
    whole = torch.zeros(value["shape"], dtype=values.dtype, device=values.device)
    whole[unpack(value["bits"], whole) != 0] = values
    return whole


def make_permanent(sniper: Sniper) -> Masks:
    """End sparse training at the present sparsity, and return the masks.

    The model is an ordinary one afterwards, in which pruned weights are 0 but may be trained.

    Raises:
        ValueError: pruned weights are not 0.
    """
    if (pruned := sniper.settings["pruned"]) != "zero":
        raise ValueError(f"with pruned={pruned!r} there are no zeros to make permanent")
    sniper.apply_masks()
    sniper.detach()
    return sniper.masks


def to_sparse(model: nn.Module, layout: str = "csr") -> nn.Module:
    """Return a copy for inference whose linear layers with zeros have sparse weights.

    Args:
        layout: `"csr"`, `"csc"`, or `"2:4"` for semi-structured weights, which need a GPU, 16 bits
            and at most two weights other than 0 in every four.

    Raises:
        ValueError: no linear layer has zeros, or some do not fit the layout; all are named.
    """
    if layout not in ("csr", "csc", "2:4"):
        raise ValueError(f"layout is csr, csc or 2:4, not {layout!r}")
    model = copy.deepcopy(unwrapped(model)).eval().requires_grad_(False)
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and bool((layer.weight == 0).any())
    }
    if not layers:
        raise ValueError("no linear layer has zeros: prune the model first")
    problems = [_unfit(name, layer) for name, layer in layers.items()] if layout == "2:4" else []
    if problems := list(filter(None, problems)):
        raise ValueError(f"cannot be semi-structured: {'; '.join(problems)}")
    for layer in layers.values():
        weight = layer.weight.detach()
        if layout == "2:4":
            sparse = torch.sparse.to_sparse_semi_structured(weight)
        else:
            sparse = weight.to_sparse(layout=getattr(torch, f"sparse_{layout}"))
        layer.weight = nn.Parameter(sparse, requires_grad=False)
    return model


def _unfit(name: str, layer: nn.Linear) -> str:
    """Say why a layer's weight cannot be semi-structured; nothing if it can."""
    weight = layer.weight.detach()
    if weight.shape[1] % 4 or bool(((weight.unflatten(1, (-1, 4)) != 0).sum(2) > 2).any()):
        return f"{name} has more than two weights other than 0 in four"
    if not weight.is_cuda or weight.element_size() != 2:
        return f"{name} is {weight.dtype} on {weight.device}, but 16 bits on a GPU are needed"
    return ""


def imported_masks(source: nn.Module | Mapping[str, Tensor], prefix: str = "") -> Masks:
    """Read masks that something else has made.

    Give them to a `Sniper` as scores, with `sparsity_of(masks)` as the sparsity: it masks the same.

    Args:
        source: a module or a state dict with the masks of `torch.nn.utils.prune`; a file of masks
            of the paper's code, `torch.load("masks_40_max75.pt")`; or weights in which pruned ones
            are 0, such as a checkpoint of that code saved after a validation. Of the latter, only
            tensors of several dimensions with zeros are taken.
        prefix: of the names here, such as `"tts."`.

    Raises:
        ValueError: there is no mask.
    """
    state = source.state_dict() if isinstance(source, nn.Module) else source
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    masks = {
        name.removesuffix("_mask"): value != 0
        for name, value in tensors.items()
        if name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in tensors
    }
    masks = masks or {n: value for n, value in tensors.items() if value.dtype == torch.bool}
    masks = masks or {
        name: value != 0
        for name, value in tensors.items()
        if value.dim() > 1 and value.is_floating_point() and not value.all()
    }
    if not masks:
        raise ValueError("no masks: neither bool tensors, nor *_mask beside *_orig, nor zeros")
    return {prefix + name: mask for name, mask in masks.items()}
