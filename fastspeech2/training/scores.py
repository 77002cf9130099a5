"""Saliency scores for pruning FastSpeech2, by the names of `sparsity.score`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastspeech2.model.fastspeech2 import FastSpeech2
from sniper import random_scores, synflow_scores

PHONES = 8
"""Length of the sequence that replaces the input of ones in SynFlow."""


def scoring(
    name: str, seed: int, selection: Mapping[str, Any]
) -> str | Callable[[nn.Module, Iterable[Any]], dict[str, Tensor]]:
    """The `score` for `SniperCallback`. Random scores depend on the seed of the run.

    Args:
        name: `sparsity.score`.
        seed: of the run.
        selection: keyword arguments of `prunable_parameters`, for the scores that are functions.
    """
    functions = {
        "random": lambda module, _: random_scores(module, seed, **selection),
        "synflow": lambda module, _: synflow_scores(
            module, lambda each: flow(each.model), **selection
        ),
    }
    return functions.get(name, name)


def flow(model: FastSpeech2) -> Tensor:
    """Concatenate all outputs for a neutral input; SynFlow sums them.

    SynFlow's input of ones is no sequence of phones, so the input is `PHONES` phones of index 1 and
    one frame each, with pitch and energy 1. The sum over a normalised vector has no gradient, so
    LayerNorms do not normalise (Abdelfattah et al. 2021, arXiv 2101.08134, do the same with
    BatchNorm). Each divides by the mean magnitude of its input instead, held fixed: without that,
    twenty layers of positive weights overflow.
    """

    def scaled(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return inputs[0] / inputs[0].detach().abs().mean()

    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    hooks = [norm.register_forward_hook(scaled) for norm in norms]
    device = next(model.parameters()).device
    ones = torch.ones(1, PHONES, device=device)
    try:
        with torch.autocast(device.type, enabled=False):
            lengths = torch.tensor([PHONES], device=device)
            output = model(ones.long(), lengths, ones.long(), ones, ones)
    finally:
        for hook in hooks:
            hook.remove()
    parts = (output.mel, output.mel_postnet, output.pitch, output.energy, output.log_duration)
    return torch.cat([part.flatten() for part in parts])
