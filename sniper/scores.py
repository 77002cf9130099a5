"""Saliency scores: how much each prunable weight matters, measured before training.

Every function returns {parameter name: tensor of its shape}, higher meaning more important, and
leaves the model as it found it: weights, gradients, buffers, train/eval modes and torch's random
state. `**selection` goes to `prunable_parameters`. A score that runs batches does so in the modes
the model is in (call `model.eval()` first to score without dropout), unless `dropout` says
otherwise. When torch.distributed is initialised, each process brings its own batches and all
get the scores of the batches of all.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from sniper.prunable import prunable_parameters

Scores = dict[str, Tensor]
LossFunction = Callable[[nn.Module, Any], Tensor]

# Their train/eval mode decides on dropout and on nothing else.
DROPOUT_TYPES = (_DropoutNd, nn.MultiheadAttention, nn.RNNBase)


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
        dropout: switch the model's dropout modules on or off while scoring.

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
    return _checked({name: total.abs() for name, total in sums.items()})


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
    model = unwrapped(model)
    parameters = prunable_parameters(model, **selection)
    batches = list(batches)
    with _left_as_found(model, dropout):
        gradient = _sums(model, loss_fn, batches, parameters, lambda w, g: g)

    def flow(model: nn.Module, batch: Any) -> Tensor:
        """g · ∂L_b/∂w with g held fixed; its gradient is H_b g."""
        found = torch.autograd.grad(
            loss_fn(model, batch), list(parameters.values()), create_graph=True, allow_unused=True
        )
        pairs = zip(gradient.values(), found, strict=True)
        return sum((fixed * g).sum() for fixed, g in pairs if g is not None)

    with _left_as_found(model, dropout):
        product = _sums(model, flow, batches, parameters, lambda w, g: w * g)
    return _checked(product)


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
    signed = [(p, p.detach().clone()) for p in model.parameters()]
    with _left_as_found(model, dropout=None):
        try:
            model.eval()
            with torch.no_grad():
                for p, _ in signed:
                    p.abs_()
            found = torch.autograd.grad(
                output_fn(model).sum(), list(parameters.values()), allow_unused=True
            )
        finally:
            with torch.no_grad():
                for p, value in signed:
                    p.copy_(value)
    _warn_unused([name for name, g in zip(parameters, found, strict=True) if g is None])
    return _checked(
        {
            name: torch.zeros_like(p) if g is None else p.detach().abs() * g
            for (name, p), g in zip(parameters.items(), found, strict=True)
        }
    )


def magnitude_scores(model: nn.Module, **selection: Any) -> Scores:
    """|w|."""
    parameters = prunable_parameters(unwrapped(model), **selection)
    return _checked({name: p.detach().abs() for name, p in parameters.items()})


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


@contextmanager
def _left_as_found(model: nn.Module, dropout: bool | None) -> Iterator[None]:
    """Put buffers, modes and torch's random state back afterwards, whatever happens."""
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    modes = [(module, module.training) for module in model.modules()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            if dropout is not None:
                for module in model.modules():
                    if isinstance(module, DROPOUT_TYPES):
                        module.training = dropout
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, saved in buffers:
                module._buffers[name] = buffer.copy_(saved)


def _sums(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[Any],
    parameters: dict[str, nn.Parameter],
    term: Callable[[Tensor, Tensor], Tensor],
) -> Scores:
    """Σ_b term(w, ∂L_b/∂w) over the batches of all processes, {name: tensor}."""
    # Half-precision gradients would lose the small terms of a long sum.
    sums = {
        name: torch.zeros_like(p, dtype=torch.promote_types(p.dtype, torch.float32))
        for name, p in parameters.items()
    }
    used, count = set(), 0
    for count, batch in enumerate(batches, start=1):  # noqa: B007
        loss = loss_fn(model, batch)
        if loss.numel() != 1:
            raise ValueError(f"loss_fn has to return a scalar, not a tensor of {tuple(loss.shape)}")
        # autograd.grad rather than backward: neither .grad nor anybody's gradient hooks see it.
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(sums, found, strict=True):
            if gradient is not None:
                used.add(name)
                sums[name] += term(parameters[name].detach(), gradient)
    if count == 0:
        raise ValueError("no batches to score with")
    _warn_unused([name for name in sums if name not in used])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for gradient in sums.values():
            torch.distributed.all_reduce(gradient)
    return sums


def _warn_unused(names: list[str]) -> None:
    if names:
        warnings.warn(f"not used in the loss, scored 0: {', '.join(names)}", stacklevel=4)


def _checked(scores: Scores) -> Scores:
    bad = [name for name, score in scores.items() if not torch.isfinite(score).all()]
    if bad:
        raise ValueError(f"scores are NaN or infinite in {', '.join(bad)}")
    return scores
