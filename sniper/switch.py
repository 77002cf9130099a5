"""The record of a change of sparsity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Switch:
    """One change of sparsity during training.

    Attributes:
        update: the number of optimizer updates before the switch.
        nominal: the sparsity that the schedule asks for, a fraction.
        achieved: the fraction of all prunable weights that is masked.
        tensors: the masked fraction of each tensor, {parameter name: sparsity}.
    """

    update: int
    nominal: float
    achieved: float
    tensors: dict[str, float]
