"""Saliency scores: how much each prunable weight matters, measured before training.

Every function returns {parameter name: tensor of its shape}, higher meaning more important, and
leaves the model as it found it: weights, gradients, buffers, train/eval modes and torch's random
state. `**selection` goes to `prunable_parameters`. When torch.distributed is initialised, each
process brings its own batches, be they none, and all get the scores of the batches of all.

A score that runs batches does so in the modes the model is in, dropout and all. `dropout=False`
puts all but normalisation layers in eval mode meanwhile, `dropout=True` in train mode.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel

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
    """SNIP (Lee et al. 2019, arXiv 1810.02340) as SNIPER uses it: |w · Σ_b ∂L_b/∂w|.

    Gradients are summed over the batches with their signs, as in arXiv 2211.07283; `absolute`
    sums their magnitudes instead.

    Args:
        loss_fn: `loss_fn(model, batch)` returns the scalar loss of a batch.
        batches: one forward and one backward are run for each.

    Raises:
        ValueError: no batches, a loss that is no scalar, or a score that is not finite; the
            message names the parameter. A parameter that no loss depends on scores 0, with a
            warning that names it.
    """
    model = unwrapped(model)
    parameters = prunable_parameters(model, **selection)
    with _left_as_found(model, dropout):
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
    """GraSP (Wang et al. 2020, arXiv 2002.07376): w · Hg, signed, H and g summed over batches.

    That is minus the paper's eq. 8, so that what it prunes first has the lowest score here too.
    Two passes are made over the batches, hence they are kept in a list meanwhile; both draw the
    same dropout masks.
    """
    model, batches = unwrapped(model), list(batches)
    parameters = prunable_parameters(model, **selection)
    with _left_as_found(model, dropout):
        gradient = _sums(model, loss_fn, batches, parameters, lambda w, g: g)

    def flow(model: nn.Module, batch: Any) -> Tensor:
        """g · ∂L_b/∂w with g held fixed; its gradient is H_b g."""
        weights = list(parameters.values())
        found = torch.autograd.grad(
            loss_fn(model, batch), weights, create_graph=True, allow_unused=True
        )
        pairs = zip(gradient.values(), found, strict=True)
        return sum((fixed * g).sum() for fixed, g in pairs if g is not None)

    with _left_as_found(model, dropout):
        return _sums(model, flow, batches, parameters, lambda w, g: w * g)


def synflow_scores(
    model: nn.Module, output_fn: Callable[[nn.Module], Tensor], **selection: Any
) -> Scores:
    """SynFlow (Tanaka et al. 2020, arXiv 2006.05467), one shot: |w| · ∂R/∂|w|.

    R is the sum of the outputs with every parameter replaced by its magnitude, in eval mode.

    Args:
        output_fn: `output_fn(model)` returns the model's output for an input of ones.
    """
    model = unwrapped(model)
    parameters = prunable_parameters(model, **selection)

    def flow(model: nn.Module, _: None) -> Tensor:
        return output_fn(model).sum()

    with _left_as_found(model, weights=True):
        model.eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        return _sums(model, flow, [None], parameters, lambda w, g: w * g)


def magnitude_scores(model: nn.Module, **selection: Any) -> Scores:
    """|w|."""
    parameters = prunable_parameters(unwrapped(model), **selection)
    return require_finite({name: p.detach().abs() for name, p in parameters.items()})


def random_scores(model: nn.Module, seed: int = 0, **selection: Any) -> Scores:
    """Uniform random numbers, the same in every process."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(p.shape, generator=generator).to(p.device)
        for name, p in prunable_parameters(unwrapped(model), **selection).items()
    }


def unwrapped(model: nn.Module) -> nn.Module:
    """The module itself: DDP's wrapper renames parameters and averages at every backward."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def require_finite(scores: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The scores; raise ValueError that names the parameters with NaN or infinite ones."""
    bad = [name for name, score in scores.items() if not torch.isfinite(score).all()]
    if bad:
        raise ValueError(f"scores are NaN or infinite in {', '.join(bad)}")
    return scores


@contextmanager
def _left_as_found(
    model: nn.Module, dropout: bool | None = None, weights: bool = False
) -> Iterator[None]:
    """Put buffers, modes, random state and maybe weights back afterwards, whatever happens."""
    modules = list(model.modules())
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
    """Σ_b term(w, ∂L_b/∂w) over the batches of all processes, {name: tensor}."""
    sums: Scores = {}
    for name, p in parameters.items():  # in half precision small terms would vanish
        sums[name] = torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32))
    device = next(iter(parameters.values())).device
    # Batches that each parameter was used in, and last of all how many there were.
    uses = torch.zeros(len(parameters) + 1, dtype=torch.int64, device=device)
    for batch in batches:
        loss = loss_fn(model, batch)
        if loss.numel() != 1:
            raise ValueError(f"loss_fn has to return a scalar, not a tensor of {tuple(loss.shape)}")
        # autograd.grad rather than backward: neither .grad nor anybody's gradient hooks see it.
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                kind = sums[name].dtype
                sums[name] += term(parameters[name].detach().to(kind), gradient.to(kind))
        uses += torch.tensor([*(g is not None for g in found), True], device=device)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for total in [*sums.values(), uses]:
            torch.distributed.all_reduce(total)
    *used, count = uses.tolist()
    if count == 0:
        raise ValueError("no batches to score with")
    unused = [name for name, times in zip(parameters, used, strict=True) if not times]
    if unused:
        warnings.warn(f"not used in the loss, scored 0: {', '.join(unused)}", stacklevel=3)
    return require_finite(sums)
