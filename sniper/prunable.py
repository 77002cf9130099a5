"""Which parameters may be pruned."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

PRUNABLE_TYPES: tuple[type[nn.Module], ...] = (nn.Linear, _ConvNd)
REFERENCE_EXCLUDED = ("norm", "embed")


def prunable_parameters(
    model: nn.Module,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    types: tuple[type[nn.Module], ...] = PRUNABLE_TYPES,
    compat: str | None = None,
) -> dict[str, nn.Parameter]:
    """Return the parameters of `model` that may be pruned, by name, in the order of the model.

    By default these are the trainable weights of linear and convolution layers, but no biases,
    norms, embeddings or positional tables. A tensor that several modules share is listed once,
    under its first name, and only if all modules that own it are of the given `types`.

    Args:
        include: globs over names; only parameters that match one of them are listed. A pattern
            that matches no default parameter but some other one, such as `"*.bias"`, adds those
            parameters to the list.
        exclude: globs over names of parameters to leave out.
        types: module types whose `weight` may be pruned.
        compat: `"reference"` lists what the code of the paper prunes: every trainable parameter,
            biases included, whose name does not contain `norm` or `embed`.

    Raises:
        ValueError: a pattern matches no parameter, a layer computes its weight from others
            (weight norm, spectral norm, ...) so that it is not a parameter, or nothing is left.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if compat == "reference":
        default = {n for n in trainable if not any(word in n for word in REFERENCE_EXCLUDED)}
    elif compat is None:
        default = _weights(model, types, trainable, exclude)
    else:
        raise ValueError(f"compat is None or 'reference', not {compat!r}")

    included = [_matching(pattern, trainable) for pattern in include]
    restricting = [matched for matched in included if matched & default]
    added = set().union(*(matched for matched in included if not matched & default))
    chosen = default & set().union(*restricting) if restricting else default
    chosen = (chosen | added) - set().union(*(_matching(p, trainable) for p in exclude))
    if not chosen:
        raise ValueError("no parameter is left to prune: check include, exclude and types")
    return {name: p for name, p in trainable.items() if name in chosen}


def scored_parameters(
    model: nn.Module, optimizer: Optimizer, shapes: Mapping[str, Sequence[int]]
) -> dict[str, nn.Parameter]:
    """Return the model's parameters of the given names.

    Raises:
        ValueError: no names are given, or some parameters are not in the model, not in the
            optimizer or of another shape; the message names them all.
    """
    if not shapes:
        raise ValueError("there are no scores, so there is nothing to prune")
    present = dict(model.named_parameters(remove_duplicate=False))
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    problems = []
    for name, shape in shapes.items():
        if name not in present:
            problems.append(f"{name} is not a parameter of the model")
        elif tuple(present[name].shape) != tuple(shape):
            own = tuple(present[name].shape)
            problems.append(f"{name} has shape {own}, but its scores have {tuple(shape)}")
        elif id(present[name]) not in held:
            problems.append(f"{name} is not in the optimizer")
    if problems:
        raise ValueError("the scores do not fit: " + "; ".join(problems))
    return {name: present[name] for name in shapes}


def _matching(pattern: str, names: Iterable[str]) -> set[str]:
    matched = {name for name in names if fnmatchcase(name, pattern)}
    if not matched:
        some = ", ".join(list(names)[:5])
        raise ValueError(f"pattern {pattern!r} matches no trainable parameter; some are {some}")
    return matched


def _weights(
    model: nn.Module,
    types: tuple[type[nn.Module], ...],
    trainable: dict[str, nn.Parameter],
    exclude: Sequence[str],
) -> set[str]:
    """Return the names of the weights whose owners are all of the given types."""
    first_name = {id(parameter): name for name, parameter in trainable.items()}
    weights, others = set(), set()
    for path, module in model.named_modules():
        for leaf, parameter in module._parameters.items():
            if id(parameter) in first_name:
                wanted = leaf == "weight" and isinstance(module, types)
                (weights if wanted else others).add(first_name[id(parameter)])
        name = f"{path}.weight" if path else "weight"
        computed = isinstance(module, types) and "weight" not in module._parameters
        if computed and not any(fnmatchcase(name, pattern) for pattern in exclude):
            raise ValueError(
                f"{name} is computed from other parameters (weight norm or the like), so it cannot "
                "be masked: fold the parametrisation into the weight first, or exclude it by name"
            )
    return weights - others
