"""What is known about optimizers: what they wrap, and what their states hold for each weight."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

# Running averages of gradients and of their squares or magnitudes: 0 for a weight without gradient.
_MOMENTS = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_avg_var", "max_exp_avg_var", "exp_inf"),
    *("exp_avg_slow", "exp_avg_diff", "exp_avg_lr", "exp_avg_grad", "neg_exp_avg", "grok_exp_avg"),
    *("momentum_buffer", "momentum", "pos_momentum", "neg_momentum", "moments", "square_avg"),
    *("grad_avg", "avg_grad", "mov_avg_grad", "acc_delta", "sum", "grad_sum_sq"),
    *("prev", "previous_grad", "last_grad", "slow_momentum", "grad_queue"),
}
# Copies of the weights: initial values, averages or slow weights that the weights are drawn to.
_COPIES = {
    *("ax", "slow_buffer", "slow_param", "slow_params", "backup_params", "prev_param"),
    *("mov_avg_param", "x0", "p0", "x_k"),
}
_REGISTERED: dict[str, dict[str, str]] = {
    **{f"{name}ScheduleFree": {"z": "copy"} for name in ("AdamW", "RAdam", "SGD")},
    **{f"ScheduleFree{name}": {"z": "copy"} for name in ("AdamW", "RAdam", "SGD")},
    # Second moments of gradients that have been rotated belong to no single weights.
    **{name: {"exp_avg_sq": "other"} for name in ("Conda", "SOAP")},
}


def register_optimizer(
    optimizer_class: type[Optimizer],
    moments: Sequence[str] = (),
    copies: Sequence[str] = (),
    other: Sequence[str] = (),
) -> None:
    """Say what an optimizer's states of a weight's shape are, by their keys.

    Args:
        moments: averages of gradients, which are 0 for a weight that is pruned.
        copies: copies or averages of the weights, which are pruned and return with the weights.
        other: anything else, which is left as it is.
    """
    kinds = {"moment": moments, "copy": copies, "other": other}
    _REGISTERED[optimizer_class.__name__] = {
        key: kind for kind, keys in kinds.items() for key in keys
    }


def chain_of(optimizer: Optimizer) -> list[Optimizer]:
    """Return an optimizer and those it wraps, such as SAM's base optimizer, outermost first.

    Raises:
        ValueError: an optimizer wraps several others, or has no parameter groups.
    """
    if not hasattr(optimizer, "param_groups"):
        raise ValueError(
            f"{type(optimizer).__name__} has no param_groups: give the optimizer that it wraps"
        )
    chain = [optimizer]
    while True:
        wrapped = {id(v): v for v in vars(chain[-1]).values() if isinstance(v, Optimizer)}
        inner = [each for each in wrapped.values() if all(each is not known for known in chain)]
        if not inner:
            return chain
        if len(inner) > 1:
            names = ", ".join(type(each).__name__ for each in inner)
            raise ValueError(
                f"{type(chain[-1]).__name__} wraps several optimizers ({names}), which is not "
                "supported: use one optimizer with several parameter groups"
            )
        chain += inner


def check_rates(optimizer: Optimizer, lr_scaling: str) -> None:
    """Raise ValueError if the learning rates of an optimizer cannot be scaled in this way."""
    name = type(optimizer).__name__
    if lr_scaling == "none":
        return
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("LBFGS has a single rate for a line search: use lr_scaling='none'")
    groups = optimizer.param_groups
    own_lists = [
        key
        for key, value in vars(optimizer).items()
        if isinstance(value, list) and len(value) == len(groups) and value is not groups
    ]
    for group in groups:
        if not isinstance(group.get("lr"), float | int | Tensor):
            raise ValueError(f"{name} has no learning rate to scale: use lr_scaling='none'")
        if lr_scaling == "per_tensor" and own_lists:
            raise ValueError(
                f"{name} keeps lists beside its parameter groups ({', '.join(own_lists)}), so that "
                "groups cannot be split by rate: use lr_scaling='global' or 'none'"
            )
        if lr_scaling == "per_tensor" and "d" in group and "d0" in group:
            raise ValueError(
                f"{name} estimates one learning rate for all parameters, so that single tensors "
                "cannot have their own: use lr_scaling='none' or 'global'"
            )


def states_of(chain: Sequence[Optimizer], parameter: nn.Parameter) -> Iterator[tuple[str, Tensor]]:
    """Yield the states that have a parameter's shape, each with its kind.

    The kind is "moment", "copy", "other", or "unknown: <optimizer>.<key>". Integers are never
    taken for moments by their name, since the code 0 of a quantised moment need not mean 0.
    """
    seen: set[int] = set()
    for optimizer in chain:
        registered = _REGISTERED.get(type(optimizer).__name__, {})
        state: dict[str, Any] = optimizer.state.get(parameter, {})
        held = ((key, each) for key, value in state.items() for each in tree_leaves(value))
        for key, value in held:  # such as a queue of gradients
            if not torch.is_tensor(value) or value.shape != parameter.shape or id(value) in seen:
                continue
            seen.add(id(value))  # some wrappers show the state of what they wrap
            kind = registered.get(key)
            if kind is None and value.dtype.is_floating_point:
                kind = "moment" if key in _MOMENTS else "copy" if key in _COPIES else None
            yield kind or f"unknown: {type(optimizer).__name__}.{key}", value


def warn_of_hidden_copies(chain: Sequence[Optimizer], parameters: Sequence[nn.Parameter]) -> None:
    """Warn if optimizers keep tensors of all the parameters' shapes elsewhere than in their states.

    Slow weights are kept so, for example. Whether they are copies of weights is not known.
    """
    shapes = {p.shape for p in parameters}
    groups = [group for optimizer in chain for group in optimizer.param_groups]
    states = [list(optimizer.state.values()) for optimizer in chain]
    known = {id(each) for each in tree_leaves([states, [group["params"] for group in groups]])}
    for optimizer in chain:
        for place in (vars(optimizer), *optimizer.param_groups):
            for key, value in place.items():
                hidden = [each for each in _tensors_in(value) if id(each) not in known]
                if key != "param_groups" and shapes <= {each.shape for each in hidden}:
                    warnings.warn(
                        f"{type(optimizer).__name__}.{key} holds tensors of the weights' shapes, "
                        "which are not masked: if they are copied into the model, call "
                        "apply_masks() right after it",
                        stacklevel=4,
                    )


def _tensors_in(value: Any) -> list[Tensor]:
    leaves = [
        list(leaf.parameters()) if isinstance(leaf, nn.Module) else leaf
        for leaf in tree_leaves(value)
    ]
    return [leaf for leaf in tree_leaves(leaves) if isinstance(leaf, Tensor)]
