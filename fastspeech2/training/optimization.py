"""Learning rate schedules, which conf/trainer/ names beside those of torch."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from pipeline.errors import RecipeError


def cosine(optimizer: Optimizer, updates: int, warmup: float) -> LambdaLR:
    """Linear warm-up over `warmup`, a fraction of all updates, then half a cosine down to zero.

    Raises:
        RecipeError: the warm-up is not a fraction below 1.
    """
    if not 0 <= warmup < 1:
        raise RecipeError(f"warmup={warmup}: give a fraction of the updates, below 1")
    rising = max(1, round(warmup * updates))

    def factor(update: int) -> float:
        if update < rising:
            return (update + 1) / rising
        return 0.5 * (1.0 + math.cos(math.pi * (update - rising) / max(1, updates - rising)))

    return LambdaLR(optimizer, factor)


def noam(optimizer: Optimizer, hidden: int, warmup: int) -> LambdaLR:
    """hidden^-0.5 · min(u^-0.5, u · warmup^-1.5) at update u, with `warmup` in updates.

    Vaswani et al. 2017, section 5.3, and ESPnet's NoamLR.
    """

    def factor(update: int) -> float:
        number = update + 1
        return hidden**-0.5 * min(number**-0.5, number * warmup**-1.5)

    return LambdaLR(optimizer, factor)
