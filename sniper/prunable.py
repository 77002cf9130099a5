"""Which parameters may be pruned."""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.optim import Optimizer

from sniper.computed import computed_masks, computed_weights, divided_by_norm
from sniper.layers import PRUNABLE_TYPES, is_prunable, is_weight, plain_name, unwrapped

REFERENCE_EXCLUDED = ("norm", "embed")
LOW_SHARE = 0.3


def prunable_parameters(
    model: nn.Module,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    types: Sequence[type[nn.Module]] = PRUNABLE_TYPES,
    compat: str | None = None,
) -> dict[str, nn.Parameter]:
    """Return the parameters of `model` that may be pruned, by name, in the order of the model.

    By default these are the trainable weights of linear, convolution, recurrent and attention
    layers and of `Conv1D` in transformers, but no biases, norms, embeddings or positional tables.
    A tensor that several modules share is listed once, under its first name, and only if all
    modules that own it are of the given `types`. If that is less than 30 % of the model, a warning
    says what is left out. The masks that `mask_computed_weights` has added are listed too.

    Args:
        include: globs over names; only parameters that match one of them are listed. A pattern
            that matches no default parameter but some other one, such as `"*.bias"`, adds those
            parameters to the list.
        exclude: globs over names of parameters to leave out.
        types: module types whose weights may be pruned.
        compat: `"reference"` lists what the code of the paper prunes: every trainable parameter,
            biases included, whose name does not contain `norm` or `embed`.

    Raises:
        ValueError: a pattern matches no parameter, a layer computes its weight from others
            (weight norm, spectral norm, ...) so that it is not a parameter, or nothing is left.
    """
    include, exclude = ([p] if isinstance(p, str) else list(p) for p in (include, exclude))
    model = unwrapped(model)
    masks = set(computed_masks(model))
    named = ((plain_name(name), p) for name, p in model.named_parameters())
    trainable = {name: p for name, p in named if p.requires_grad or name in masks}
    computed = computed_weights(model, tuple(types))
    if compat == "reference":
        default = {n for n in trainable if not any(word in n for word in REFERENCE_EXCLUDED)}
        computed = {name: parts for name, parts in computed.items() if parts & default}
    elif compat is None:
        default = _weights(model, tuple(types), trainable) | masks
    else:
        raise ValueError(f"compat is None or 'reference', not {compat!r}")

    names = [*trainable, *computed]
    included = [_matching(pattern, trainable) for pattern in include]
    excluded = set().union(*(_matching(pattern, names) for pattern in exclude))
    restricting = [matched for matched in included if matched & default]
    added = set().union(*(matched for matched in included if not matched & default))
    chosen = default & set().union(*restricting) if restricting else default
    chosen = (chosen | added) - excluded
    computed = {n: parts for n, parts in computed.items() if n not in excluded and parts - excluded}
    if computed and not (restricting or added):
        raise ValueError(
            f"{' and '.join(computed)} cannot be masked, being computed from other parameters "
            "(weight norm, LoRA or the like): call mask_computed_weights(model) first, fold the "
            "parametrisation into the weight, or exclude it by name"
        )
    if not chosen:
        raise ValueError("no parameter is left to prune: check include, exclude and types")
    if not (include or exclude or compat or masks) and types is PRUNABLE_TYPES:
        _warn_of_low_share(model, chosen)
    return {name: p for name, p in trainable.items() if name in chosen}


def scored_parameters(
    model: nn.Module, optimizer: Optimizer, shapes: Mapping[str, Sequence[int]]
) -> dict[str, nn.Parameter]:
    """Return the model's parameters of the given names.

    Raises:
        ValueError: no names are given, or some parameters are not in the model, not in the
            optimizer, of another shape, listed twice or sharded; the message names them all.
    """
    if not shapes:
        raise ValueError("there are no scores, so there is nothing to prune")
    present = {plain_name(n): p for n, p in model.named_parameters(remove_duplicate=False)}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    problems, first_names = [], {}
    masks, divided = computed_masks(model), divided_by_norm(model)
    for name, shape in shapes.items():
        parameter = present.get(plain_name(name))
        if parameter is None:
            problems.append(f"{name} is not a parameter of the model")
        elif hasattr(parameter, "placements"):  # a DTensor of FSDP2 or of tensor parallelism
            problems.append(f"{name} is sharded over devices, which is not supported")
        elif plain_name(name) in divided:
            problems.append(f"{name} is divided by its norm, so use mask_computed_weights(model)")
        elif id(parameter) in first_names:
            problems.append(f"{name} is the same tensor as {first_names[id(parameter)]}")
        elif tuple(parameter.shape) != tuple(shape):
            own = tuple(parameter.shape)
            problems.append(f"{name} has shape {own}, but its scores have {tuple(shape)}")
        elif id(parameter) not in held and plain_name(name) not in masks:
            problems.append(f"{name} is not in the optimizer")
        first_names.setdefault(id(parameter), name)
    if problems:
        raise ValueError("the scores do not fit: " + "; ".join(problems))
    return {plain_name(name): present[plain_name(name)] for name in shapes}


def _matching(pattern: str, names: Iterable[str]) -> set[str]:
    matched = {name for name in names if fnmatchcase(name, pattern)}
    if not matched:
        some = ", ".join(list(names)[:5])
        raise ValueError(f"pattern {pattern!r} matches no trainable parameter; some are {some}")
    return matched


def _weights(
    model: nn.Module, types: tuple[type[nn.Module], ...], trainable: dict[str, nn.Parameter]
) -> set[str]:
    """Return the names of the weights whose owners are all of the given types."""
    first_name = {id(parameter): name for name, parameter in trainable.items()}
    weights, others = set(), set()
    for module in model.modules():
        for leaf, parameter in module._parameters.items():
            if id(parameter) in first_name:
                wanted = is_prunable(module, types) and is_weight(module, leaf)
                (weights if wanted else others).add(first_name[id(parameter)])
    return weights - others


def _warn_of_low_share(model: nn.Module, chosen: set[str]) -> None:
    """Warn if most of the trainable weights are in layers that are not pruned."""
    left_out: Counter[str] = Counter()
    total, seen = 0, set()
    for path, module in model.named_modules():
        for leaf, parameter in module._parameters.items():
            if parameter is None or not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            total += parameter.numel()
            if plain_name(f"{path}.{leaf}" if path else leaf) not in chosen:
                left_out[type(module).__name__] += parameter.numel()
    share = 1 - sum(left_out.values()) / total
    if share < LOW_SHARE:
        most = ", ".join(f"{name} {n / total:.0%}" for name, n in left_out.most_common(3))
        warnings.warn(
            f"only {share:.1%} of the model's {total:,} trainable weights are prunable; most of "
            f"the others are in layers of these types: {most}; `types` or `include` can add them",
            stacklevel=3,
        )
