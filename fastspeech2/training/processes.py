"""Training by several processes at once, started by `torchrun --nproc_per_node=N`.

N processes take N successive batches of the one stream for each update, and their gradients are
averaged: what one process does that accumulates N batches. The exception is BatchNorm's running
means, in the postnets of espnet and ming024, which are of the first process's batches alone.
"""

import os
from dataclasses import dataclass

import torch
from torch import distributed

from pipeline.errors import RecipeError


@dataclass(frozen=True)
class Processes:
    """How many there are, and which this one is."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            distributed.barrier()


def join(accelerator: str, devices: int) -> Processes:
    """Meet the other processes that torchrun started, where it did.

    Args:
        accelerator: "cpu" or "gpu", as in conf/trainer/.
        devices: how many processes the configuration is for.

    Raises:
        RecipeError: there are more or fewer.
    """
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size != devices:
        raise RecipeError(
            f"trainer.devices is {devices}, but {size} process{'es' if size > 1 else ''} started: "
            f"run `torchrun --nproc_per_node={devices} scripts/stage4_train.py ...`"
        )
    if size == 1:
        return Processes()
    if accelerator == "gpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if accelerator == "gpu" else "gloo")
    return Processes(distributed.get_rank(), size)
