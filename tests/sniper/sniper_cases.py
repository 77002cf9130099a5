"""Small models, batches and loops that the tests of sniper share."""

import math
import multiprocessing
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sniper import Sniper, SparsitySchedule, magnitude_scores

REFERENCE = Path(__file__).parent / "reference" / "snip_mlp.npz"
Batch = tuple[Tensor, Tensor]

# Fork worker processes from a process that has imported torch but not run it yet.
multiprocessing.set_forkserver_preload(["torch"])


class ReferenceMLP(nn.Module):
    """The network from which reference/snip_mlp.npz was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(16, 48)
        self.norm = nn.LayerNorm(48)
        self.hidden2 = nn.Linear(48, 48)
        self.out = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.hidden2(torch.relu(self.norm(self.hidden1(x))))))


def reference_case() -> tuple[ReferenceMLP, list[Batch], dict[str, np.ndarray]]:
    arrays = dict(np.load(REFERENCE))
    model = ReferenceMLP()
    model.load_state_dict(
        {k.removeprefix("init/"): torch.tensor(v) for k, v in arrays.items() if k[:5] == "init/"}
    )
    batches = [
        (torch.tensor(arrays[f"batch{i}/x"]), torch.tensor(arrays[f"batch{i}/y"])) for i in range(8)
    ]
    return model, batches, arrays


def small_model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv1d(2, 6, 3, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(48, 10),
        nn.LayerNorm(10),
        nn.Linear(10, 4),
    )


def small_batches(count: int, seed: int = 1) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(12, 2, 8, generator=generator),
            torch.randint(4, (12,), generator=generator),
        )
        for _ in range(count)
    ]


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, foreach=False),
    "adamw decay": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adamw foreach": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "adam tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01)),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.003, momentum=0.5),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.02),
}


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    clip: float | None = None,
) -> None:
    """Train in an ordinary loop, one update for each batch."""
    for batch in batches:
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if scheduler:
            scheduler.step()


class ToyOptimizer(torch.optim.Optimizer):
    """An optimizer whose subclass updates one parameter at a time, by its gradient and state."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.update(p, self.state[p], group["lr"])

    def update(self, p: nn.Parameter, state: dict, lr: float) -> None:
        raise NotImplementedError


def count(fraction: float, total: int) -> int:
    """Return `fraction * total` rounded down, but up if only rounding errors are missing."""
    exact = Fraction(fraction) * total
    return round(exact) if 0 < round(exact) - exact < exact / 2**46 else math.floor(exact)


def assert_sparse(model: nn.Module, optimizer: torch.optim.Optimizer, sniper: Sniper) -> None:
    """Assert that the right number of weights is masked, exactly zero and without moments."""
    parameters, masks = dict(model.named_parameters()), sniper.masks
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int((~m).sum()) for m in masks.values()) == count(sniper.sparsity, total)
    for name, mask in masks.items():
        state = optimizer.state.get(parameters[name], {})
        moments = [v for v in state.values() if torch.is_tensor(v) and v.shape == mask.shape]
        for tensor in [parameters[name].detach(), *moments]:
            assert not tensor[~mask].any(), name


def attached(schedule=None, optimizer="adamw decay", **settings):
    """Return a small model, its optimizer, and a `Sniper` attached to both."""
    model = small_model()
    optimizer = OPTIMIZERS[optimizer](model.parameters())
    schedule = schedule or SparsitySchedule.constant(0.4)
    scores = magnitude_scores(model)
    return model, optimizer, Sniper(model, optimizer, scores, schedule, **settings)
