"""Which parameters may be pruned."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.conv import _ConvNd

PRUNABLE_TYPES: tuple[type[nn.Module], ...] = (nn.Linear, _ConvNd)
REFERENCE_EXCLUDED = ("norm", "embed")


def prunable_parameters(
    model: nn.Module,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    types: tuple[type[nn.Module], ...] = PRUNABLE_TYPES,
    compat: str | None = None,
) -> dict[str, nn.Parameter]:
    """Return the parameters of `model` that may be pruned, by name, in the model's own order.

    These are the trainable weights of modules of the given `types` (Linear and convolutions):
    never biases, norms, embeddings or positional tables. A tensor that several modules share is
    listed once, under its first name, and only if each of its owners is of the given types.

    Args:
        include: globs over names. Only parameters that match one of them are listed. A pattern
            that matches nothing of the usual kind but some other parameter, such as `"*.bias"`,
            asks for those: they are listed as well.
        exclude: globs over names, taken out again.
        types: module types whose `weight` may be pruned.
        compat: `"reference"` lists what the code of the paper does: every trainable parameter,
            biases too, whose name does not contain `norm` or `embed`.

    Raises:
        ValueError: a pattern matches no parameter, a module's weight is re-parametrised
            (weight norm, spectral norm, ...) and so is not a parameter, or nothing is left.
    """
    everything = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if compat == "reference":
        usual = {n for n in everything if not any(word in n for word in REFERENCE_EXCLUDED)}
    elif compat is None:
        usual = _weights_of(model, types, everything, exclude)
    else:
        raise ValueError(f"compat is None or 'reference', not {compat!r}")

    restricting, asked = [], set()
    for pattern in include:
        matched = _match(pattern, everything, "include")
        if matched & usual:
            restricting.append(matched)
        else:
            asked |= matched
    chosen = usual & set().union(*restricting) if restricting else usual
    chosen = chosen | asked
    for pattern in exclude:
        chosen = chosen - _match(pattern, everything, "exclude")
    if not chosen:
        raise ValueError("no parameter is left to prune: check include, exclude and types")
    return {name: p for name, p in everything.items() if name in chosen}


def _match(pattern: str, names: dict[str, nn.Parameter], what: str) -> set[str]:
    matched = {name for name in names if fnmatchcase(name, pattern)}
    if not matched:
        raise ValueError(
            f"{what} pattern {pattern!r} matches no trainable parameter; names look like "
            f"{', '.join(list(names)[:5])}"
        )
    return matched


def _weights_of(
    model: nn.Module,
    types: tuple[type[nn.Module], ...],
    everything: dict[str, nn.Parameter],
    exclude: Sequence[str],
) -> set[str]:
    """Names of the weights all of whose owners are of the given types."""
    first_name = {id(parameter): name for name, parameter in everything.items()}
    listed, barred = set(), set()
    for path, module in model.named_modules():
        for leaf, parameter in module._parameters.items():
            if id(parameter) in first_name:
                usual = leaf == "weight" and isinstance(module, types)
                (listed if usual else barred).add(first_name[id(parameter)])
        weight = getattr(module, "weight", None) if isinstance(module, types) else None
        if weight is not None and "weight" not in module._parameters:
            name = f"{path}.weight" if path else "weight"
            if not any(fnmatchcase(name, pattern) for pattern in exclude):
                raise ValueError(
                    f"{name} is re-parametrised (weight norm or the like), so it cannot be masked: "
                    "fold the parametrisation into the weight first, or exclude it by name"
                )
    return listed - barred
