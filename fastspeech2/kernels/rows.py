"""The moves between padded and packed layouts: gathering rows."""

from torch import Tensor
from torch.autograd import Function

from fastspeech2.kernels import select


def gather_rows(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Rows of `x` `[rows, channels]` in another order, zeros where the index is negative.

    Args:
        index: which row each new row is, `[new rows]`; no row may occur twice.
        inverse: which new row each row becomes, `[rows]`, negative for a row that is left out.
    """
    if select.use_gather_backward():
        return _GatherRows.apply(x, index, inverse)
    return _gather(x, index)


def _gather(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index.clamp(min=0)).mul_((index >= 0)[:, None])


class _GatherRows(Function):
    """The same, with a backward pass that gathers too.

    Autograd would scatter the gradient row by row, which is slower.
    """

    @staticmethod
    def forward(context, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        context.save_for_backward(index, inverse)
        return _gather(x, index)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = context.saved_tensors
        return gather_rows(gradient, inverse, index), None, None
