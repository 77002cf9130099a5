"""Saliency scores: how much each prunable weight matters, measured before training.

Every function returns {parameter name: tensor of its shape}, where higher means more important. It
leaves the model as it found it: weights, gradients, buffers, train and eval modes, and torch's
random state. `**selection` goes to `prunable_parameters`. When torch.distributed is initialised,
each process brings its own batches, possibly none, and all processes get the scores over the
batches of all of them.

Batches are run in the train or eval modes that the model is in. `dropout=False` puts all modules
but normalisation layers into eval mode for the time of scoring, `dropout=True` into train mode.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from sniper.computed import magnitudes
from sniper.layers import unwrapped
from sniper.prunable import prunable_parameters

Scores = dict[str, Tensor]
LossFunction = Callable[[nn.Module, Any], Tensor]


def snip_scores(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[Any],
    absolute: bool = False,
    dropout: bool | None = None,
    **selection: Any,
) -> Scores:
    """Score by SNIP (Lee et al. 2019, arXiv 1810.02340) as SNIPER uses it: |w · Σ_b ∂L_b/∂w|.

    Gradients are summed over the batches with their signs, as in arXiv 2211.07283. A parameter
    that no loss depends on scores 0, with a warning that names it.

    Args:
        loss_fn: `loss_fn(model, batch)` returns the scalar loss of a batch.
        batches: one forward and one backward pass are run for each.
        absolute: sum the magnitudes of the gradients instead.

    Raises:
        ValueError: there are no batches, a loss is not a scalar, or a score is not finite; the
            message names its parameter.
    """
    model = unwrapped(model)
    parameters = prunable_parameters(model, **selection)
    with left_as_found(model, dropout):
        sums = _sums(
            model, loss_fn, batches, parameters, lambda w, g: (w * g).abs() if absolute else w * g
        )
    return {name: total.abs() for name, total in sums.items()}


def grasp_scores(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[Any],
    dropout: bool | None = None,
    **selection: Any,
) -> Scores:
    """Score by GraSP (Wang et al. 2020, arXiv 2002.07376): w · Hg, with H and g over all batches.

    This is the negative of the paper's eq. 8, so that the weights it prunes first have the lowest
    scores here too. Two passes over the batches are made, with the same dropout masks, so all
    batches are held in memory.
    """
    model, batches = unwrapped(model), list(batches)
    parameters = _trained(prunable_parameters(model, **selection))
    with left_as_found(model, dropout):
        gradient = _sums(model, loss_fn, batches, parameters, lambda w, g: g)

    def flow(model: nn.Module, batch: Any) -> Tensor:
        """Return g · ∂L_b/∂w with g held fixed; its gradient is H_b g."""
        weights = list(parameters.values())
        found = torch.autograd.grad(
            loss_fn(model, batch), weights, create_graph=True, allow_unused=True
        )
        pairs = zip(gradient.values(), found, strict=True)
        return sum((fixed * g).sum() for fixed, g in pairs if g is not None)

    with left_as_found(model, dropout):
        return _sums(model, flow, batches, parameters, lambda w, g: w * g)


def synflow_scores(
    model: nn.Module, output_fn: Callable[[nn.Module], Tensor], **selection: Any
) -> Scores:
    """Score by SynFlow (Tanaka et al. 2020, arXiv 2006.05467) in one shot: |w| · ∂R/∂|w|.

    R is the sum of the outputs in eval mode when every parameter is replaced by its magnitude.

    Args:
        output_fn: `output_fn(model)` returns the model's output for an input of ones.
    """
    model = unwrapped(model)
    parameters = _trained(prunable_parameters(model, **selection))

    def flow(model: nn.Module, _: None) -> Tensor:
        return output_fn(model).sum()

    with left_as_found(model, weights=True):
        model.eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        return _sums(model, flow, [None], parameters, lambda w, g: w * g)


def magnitude_scores(model: nn.Module, **selection: Any) -> Scores:
    """Score by magnitude: |w|."""
    model = unwrapped(model)
    return require_finite(magnitudes(model, prunable_parameters(model, **selection)))


def random_scores(model: nn.Module, seed: int = 0, **selection: Any) -> Scores:
    """Score by uniform random numbers, the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(p.shape, generator=generator).to(p.device)
        for name, p in prunable_parameters(unwrapped(model), **selection).items()
    }


def _trained(parameters: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    if masks := [name for name, p in parameters.items() if not p.requires_grad]:
        raise ValueError(
            f"{', '.join(masks)}: this score is not defined for computed weights: use snip_scores, "
            "magnitude_scores or random_scores"
        )
    return parameters


def require_finite(scores: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the scores; raise ValueError if some are NaN or infinite, naming the parameters."""
    extremes = {
        name: torch.stack(score.aminmax()) for name, score in scores.items() if score.numel()
    }
    bad = [name for name, ends in extremes.items() if not torch.isfinite(ends).all()]
    if bad:
        raise ValueError(f"scores are NaN or infinite in {', '.join(bad)}")
    return scores


@contextmanager
def left_as_found(
    model: nn.Module, dropout: bool | None = None, weights: bool = False
) -> Iterator[None]:
    """Restore buffers, modes, random state and, if asked, weights, even after an error."""
    modules = list(model.modules())
    trained = [(p, p.requires_grad) for p in model.parameters()]
    modes = [module.training for module in modules]
    buffers = [dict(module._buffers) for module in modules]
    tensors = [*model.buffers(), *(model.parameters() if weights else ())]
    values = [tensor.detach().clone() for tensor in tensors]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            for module in modules:
                if dropout is not None and not isinstance(module, _NormBase):
                    module.training = dropout
            yield
    finally:
        for module, training, own in zip(modules, modes, buffers, strict=True):
            module.training = training
            module._buffers.update(own)
        for parameter, is_trained in trained:
            parameter.requires_grad_(is_trained)
        with torch.no_grad():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)


def _sums(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[Any],
    parameters: dict[str, nn.Parameter],
    term: Callable[[Tensor, Tensor], Tensor],
) -> Scores:
    """Sum term(w, ∂L_b/∂w) over the batches b of all processes, {name: tensor}."""
    sums: Scores = {}
    for name, p in parameters.items():
        p.requires_grad_(True)  # masks of computed weights are not trained
        # At least float32: small terms would vanish in less
        sums[name] = torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32))
    device = next(iter(parameters.values())).device
    # How many batches used each parameter, and at the end how many batches there were.
    uses = torch.zeros(len(parameters) + 1, dtype=torch.int64, device=device)
    for batch in batches:
        loss = loss_fn(model, batch)
        if loss.numel() != 1:
            shape = tuple(loss.shape)
            raise ValueError(f"loss_fn has to return a scalar, not a tensor of shape {shape}")
        # Unlike backward, autograd.grad changes no .grad and runs no hooks on gradients.
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                dtype = sums[name].dtype
                sums[name] += term(parameters[name].detach().to(dtype), gradient.to(dtype))
        uses += torch.tensor([*(g is not None for g in found), True], device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for total in [*sums.values(), uses]:
            torch.distributed.all_reduce(total)
    *used, count = uses.tolist()
    if count == 0:
        raise ValueError("no batches to score with")
    unused = [name for name, times in zip(parameters, used, strict=True) if not times]
    if unused:
        warnings.warn(f"not used in the loss, so scored 0: {', '.join(unused)}", stacklevel=3)
    return require_finite(sums)
