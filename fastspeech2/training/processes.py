"""Distributed training with several processes, started by `torchrun --nproc_per_node=N`.

For each update the N processes take the next N batches of one stream and average their gradients,
which equals one process that accumulates N batches. The running means of BatchNorm, in the postnets
of espnet and ming024, are an exception: they come from the batches of the first process only.
"""

import os
from dataclasses import dataclass

import torch
from torch import distributed

from pipeline.errors import RecipeError


@dataclass(frozen=True)
class Processes:
    """The rank of this process and the number of processes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes have come to this point."""
        if self.size > 1:
            distributed.barrier()


def join(accelerator: str, devices: int) -> Processes:
    """Join the process group of the processes that torchrun started, if it started any.

    Args:
        accelerator: "cpu" or "gpu", as in conf/trainer/.
        devices: number of processes that the configuration asks for.

    Raises:
        RecipeError: another number of processes was started.
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
