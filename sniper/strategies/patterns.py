"""Patterns of pruned weights that hardware can make use of.

`"2:4"` keeps 2 of every 4 weights in a row along dimension 1, the inputs of a linear layer or a
convolution. In a decreasing schedule, `"1:4"` goes on to 2, 3 and 4 of 4: each sparsity has to
leave a whole number. `"4x1"` prunes blocks of 4 outputs by 1 input as one, by their mean score.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from sniper.scores import Scores
from sniper.selection import level_dtype


def parsed(pattern: str) -> tuple[str, int, int]:
    """Return the sign of a pattern and its two numbers: `"2:4"` is (":", 2, 4).

    Raises:
        ValueError: it is not a pattern.
    """
    match = re.fullmatch(r"([1-9]\d*)([:x])([1-9]\d*)", str(pattern))
    if not match or (match[2] == ":" and int(match[1]) >= int(match[3])):
        raise ValueError(f"pattern is like '2:4' (2 of 4 are kept) or '4x1', not {pattern!r}")
    return match[2], int(match[1]), int(match[3])


def check_sparsities(pattern: str, sparsities: Sequence[float]) -> None:
    """Raise ValueError if a pattern such as `"2:4"` does not have these sparsities."""
    kind, kept, of = parsed(pattern)
    if kind == ":" and (
        any(abs(s * of - round(s * of)) > 1e-9 for s in sparsities)
        or round(max(sparsities) * of) != of - kept
    ):
        raise ValueError(
            f"the pattern {pattern} has a highest sparsity of {1 - kept / of:g} and others that "
            f"are multiples of 1/{of}, not {', '.join(f'{s:g}' for s in sparsities)}"
        )


def check_shapes(pattern: str, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise ValueError that names the parameters of which a pattern does not divide the shape."""
    kind, rows, columns = parsed(pattern)
    rows = 1 if kind == ":" else rows
    unfit = [
        f"{name} {tuple(shape)}"
        for name, shape in shapes.items()
        if len(shape) < 2 or shape[0] % rows or shape[1] % columns
    ]
    if unfit:
        raise ValueError(f"the pattern {pattern} does not divide {', '.join(unfit)}: exclude them")


def pattern_levels(
    pattern: str,
    levels: Callable[[Scores, Sequence[float]], dict[str, Tensor]],
    scores: Scores,
    sparsities: Sequence[float],
) -> dict[str, Tensor]:
    """Return at how many of the falling sparsities each weight is pruned.

    Args:
        levels: the same without a pattern.

    Raises:
        ValueError: tensors cannot be divided in this way; the message names them.
    """
    check_shapes(pattern, {name: score.shape for name, score in scores.items()})
    kind, rows, columns = parsed(pattern)
    if kind == ":":
        return {name: _level_in_row(score, columns, sparsities) for name, score in scores.items()}
    blocks = {
        name: score.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).double().mean((1, 3))
        for name, score in scores.items()
    }
    return {
        name: level.repeat_interleave(rows, 0).repeat_interleave(columns, 1)
        for name, level in levels(blocks, sparsities).items()
    }


def _level_in_row(score: Tensor, of: int, sparsities: Sequence[float]) -> Tensor:
    """Rank each weight among `of` in a row, and prune the lowest."""
    ranks = score.unflatten(1, (-1, of)).argsort(dim=2, stable=True).argsort(dim=2)
    levels = sum((ranks < round(s * of)).to(level_dtype(sparsities)) for s in sparsities)
    return levels.flatten(1, 2)
