"""Masks of weights that are computed from other parameters, as weight norm does."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.rnn import RNNBase
from torch.nn.utils.parametrizations import _Orthogonal, _SpectralNorm, _WeightNorm

from sniper.layers import is_prunable, is_weight, plain_name


class ComputedMask(nn.Module):
    """The last step of a parametrisation, which multiplies the weight by a mask of 1 and 0."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        # A parameter keeps its identity when the model is cast or moved. It is never trained.
        self.mask = nn.Parameter(torch.ones_like(weight), requires_grad=False)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight


def mask_computed_weights(model: nn.Module) -> list[str]:
    """Prepare weights with `torch.nn.utils.parametrize` for a `Sniper`; return their masks' names.

    Call this once before scoring, and before a model loads such a checkpoint. It appends a mask of
    ones to each parametrisation, which changes nothing. A `Sniper` then prunes these masks, so that
    pruned weights are 0 whatever they are computed from. They return at what is computed then, and
    the rates of the parameters behind them are not scaled.

    Raises:
        ValueError: a computed weight cannot be masked in this way; the message names all of them.
    """
    problems, fit = [], []
    for path, module in model.named_modules():
        for leaf, steps in getattr(module, "parametrizations", {}).items():
            name = f"{path}.{leaf}" if path else leaf
            if any(isinstance(step, _SpectralNorm) for step in steps):
                problems.append(
                    f"{name} (its norm would not be 1; prune its parametrizations.{leaf}.original)"
                )
            elif any(isinstance(step, _Orthogonal) for step in steps):
                problems.append(f"{name} (it would not be orthogonal)")
            elif isinstance(module, RNNBase):
                problems.append(f"{name} (recurrent layers do not compute it anew)")
            elif is_prunable(module) and is_weight(module, leaf):
                fit.append((steps, getattr(module, leaf).detach()))
    if problems:
        raise ValueError(f"cannot be masked after they are computed: {', '.join(problems)}")
    for steps, weight in fit:
        if not isinstance(steps[-1], ComputedMask):
            steps.append(ComputedMask(weight))
    return computed_masks(model)


def computed_masks(model: nn.Module) -> list[str]:
    """Return the names of the masks that `mask_computed_weights` has added."""
    modules = model.named_modules()
    return [plain_name(f"{n}.mask") for n, module in modules if isinstance(module, ComputedMask)]


def magnitudes(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Return the magnitudes of parameters; for masks of computed weights, those of the weights."""
    masks, found = computed_masks(model), {}
    for name in names:
        weight = model.get_parameter(name)
        if name in masks:
            path, _, rest = name.rpartition("parametrizations.")
            weight = getattr(model.get_submodule(path.removesuffix(".")), rest.split(".")[0])
        found[name] = weight.detach().abs()
    return found


def computed_weights(model: nn.Module, types: tuple[type[nn.Module], ...]) -> dict[str, set[str]]:
    """Return weights that are computed from parameters and have no mask, and their parameters.

    These are what `nn.utils.parametrize` and the older hooks of `nn.utils` compute, and the sums
    of a frozen weight and a product of factors in layers of LoRA.
    """
    computed = {}
    for path, module in model.named_modules():
        prefix = plain_name(f"{path}." if path else "")
        if is_prunable(module, types) or hasattr(module, "lora_A"):
            for leaf, parts in _computed_of(module):
                if is_weight(module, leaf):
                    computed[prefix + leaf] = {prefix + part for part in parts}
    return computed


def divided_by_norm(model: nn.Module) -> set[str]:
    """Return the parameters of weight norm in which rows of zeros would be divided by 0."""
    found = set()
    for path, module in model.named_modules():
        prefix = plain_name(f"{path}." if path else "")
        for leaf, steps in getattr(module, "parametrizations", {}).items():
            if any(isinstance(step, _WeightNorm) for step in steps):
                found.add(f"{prefix}parametrizations.{leaf}.original1")
        own = module._parameters
        found |= {prefix + n for n in own if n[-2:] == "_v" and n[:-2] + "_g" in own}
    return found


def _computed_of(module: nn.Module) -> Iterator[tuple[str, list[str]]]:
    """Yield the computed weights of a layer, with the names of their parameters."""
    for leaf, steps in getattr(module, "parametrizations", {}).items():
        if not isinstance(steps[-1], ComputedMask):
            yield leaf, [f"parametrizations.{leaf}.{n}" for n, _ in steps.named_parameters()]
    own = module._parameters
    for part in own:
        for suffix, partners in (("_v", ("_g",)), ("_orig", ())):
            leaf = part.removesuffix(suffix)
            if leaf != part and leaf not in own and all(leaf + other in own for other in partners):
                yield leaf, [part, *(leaf + other for other in partners)]
    if hasattr(module, "lora_A"):
        yield "weight", [n for n, _ in module.named_parameters() if n.startswith("lora_")]
