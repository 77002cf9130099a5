"""Layers that have weights to prune, and wrappers that rename them."""

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.rnn import RNNBase, RNNCellBase
from torch.nn.parallel import DataParallel, DistributedDataParallel

PRUNABLE_TYPES: tuple[type[nn.Module], ...] = (
    *(nn.Linear, nn.Bilinear, _ConvNd),
    *(RNNBase, RNNCellBase, nn.MultiheadAttention),
)


def is_prunable(module: nn.Module, types: tuple[type[nn.Module], ...] = PRUNABLE_TYPES) -> bool:
    """Whether a layer has weights that may be pruned."""
    # The Conv1D of transformers, which GPT-2 uses, is a linear layer.
    kind = type(module)
    conv1d = kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers")
    return isinstance(module, types) or (conv1d and types == PRUNABLE_TYPES)


def is_weight(module: nn.Module, leaf: str) -> bool:
    """Whether a parameter of a layer is a matrix of weights, rather than a bias or a scale."""
    if isinstance(module, RNNBase | RNNCellBase):
        return leaf.startswith(("weight_ih", "weight_hh", "weight_hr"))
    if isinstance(module, nn.MultiheadAttention):
        return leaf.endswith("proj_weight")
    return leaf == "weight"


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside DDP, DataParallel and torch.compile, which rename parameters."""
    while True:
        wraps = isinstance(model, DistributedDataParallel | DataParallel)
        inner = getattr(model, "module" if wraps else "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def plain_name(name: str) -> str:
    """Return a parameter's name without what torch.compile adds for compiled submodules."""
    return name.replace("_orig_mod.", "")
