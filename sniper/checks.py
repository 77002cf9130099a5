"""Checks of a model at attachment and during training."""

import hashlib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sniper.bitmask import pack
from sniper.layers import plain_name

# A dict of a module, a key in it, and the value that belongs there.
Place = tuple[Mapping[str, Any], str, Any]


def warn_of_dead_tensors(scores: Mapping[str, Tensor], pruned: Mapping[str, int]) -> None:
    """Warn of tensors that are pruned whole, or whose scores are all zero.

    Zero-initialised layers, such as adapters and the ends of residual branches, make the scores of
    all that feeds them zero, too. Under constant sparsity they stay dead.
    """
    total = sum(score.numel() for score in scores.values())

    def listed(names: list[str]) -> str:
        share = sum(scores[name].numel() for name in names) / total
        return f"{', '.join(names)} ({share:.1%} of the prunable weights)"

    if whole := [name for name, score in scores.items() if pruned[name] == score.numel()]:
        warnings.warn(
            f"pruned whole: {listed(whole)}; a cap below 1 or min_density keeps a part",
            stacklevel=4,
        )
    if zero := [name for name, score in scores.items() if not score.any()]:
        warnings.warn(
            f"scores are all zero, so pruned first: {listed(zero)}; exclude them, or give them "
            "a min_density",
            stacklevel=4,
        )


def require_equal_masks(masks: Mapping[str, Tensor]) -> None:
    """Raise ValueError if processes that train the same tensors have different masks.

    All processes of torch.distributed have to call this together.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    structure = [(name, tuple(mask.shape)) for name, mask in masks.items()]
    digest = hashlib.sha256()
    for mask in masks.values():
        digest.update(bytes(pack(mask).cpu().tolist()))
    own = structure, digest.hexdigest()
    others: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(others, own)
    differing = [i for i, (s, d) in enumerate(others) if s == own[0] and d != own[1]]
    if differing:
        raise ValueError(
            f"masks differ between process {torch.distributed.get_rank()} and processes "
            f"{', '.join(map(str, differing))}: give all processes the same scores; score after "
            "init_process_group, with the same seed"
        )


def places_of(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> list[Place]:
    """Return where in the model the parameters and the modules that own them are."""
    places: dict[tuple[int, str], Place] = {}
    owners = {plain_name(name): name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, parameter in parameters.items():
        *path, leaf = owners[name].split(".")
        module = model
        for part in path:
            child = module._modules[part]
            places[id(module), part] = module._modules, part, child
            module = child
        places[id(module), leaf] = module._parameters, leaf, parameter
    return list(places.values())


def require_in_place(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
    """Raise RuntimeError that names the parameters which are no longer the model's."""
    present = {plain_name(n): p for n, p in model.named_parameters(remove_duplicate=False)}
    replaced = [name for name, p in parameters.items() if present.get(name) is not p]
    if replaced:
        raise RuntimeError(
            f"replaced in the model since the Sniper was attached: {', '.join(replaced)}; call its "
            "detach(), and attach a new one to the new model and an optimizer that holds it"
        )
