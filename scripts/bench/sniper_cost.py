"""The cost of sparse training: time of an update of five models, scoring, memory, masks.

`make bench` runs it, and so does `python scripts/bench/sniper_cost.py`; the names of some of the
models as arguments leave out everything but the updates of these. Each time is the median of the
ratios of paired steps, which alternate between the two things compared: a machine that slows down
for a while slows both. The quartiles beside a ratio say how far to trust it, since other work on
the machine widens them. Time is that of the processor, so that waiting for it does not count.
"""

import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.hardware import keep_freed_memory, machine_description
from sniper import Sniper, SparsitySchedule, global_masks, magnitude_scores, snip_scores
from sniper.masks import mask_levels
from sniper_models import MODELS, Case

FALLING = {0: 0.4, 2: 0.2, 3: 0.1, 4: 0.0}


def build(name: str) -> Case:
    torch.manual_seed(0)
    return MODELS[name]()


def trainee(name: str, sparsity: float, lr_scaling: str = "none") -> Callable[[], None]:
    """Return a function that makes one update of its own model at a constant sparsity."""
    model, loss = build(name)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    schedule = SparsitySchedule.constant(sparsity)
    Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.75, lr_scaling=lr_scaling)

    def update() -> None:
        optimizer.zero_grad()
        loss(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return update


def paired_ratios(
    base: Callable[[], None],
    others: dict[str, Callable[[], None]],
    seconds: float,
) -> dict[str, list[float]]:
    """Quartiles over rounds of the time of each function ÷ the time of `base` in the same round.

    Rounds continue for `seconds` of wall clock, and there are at least seven.
    """
    functions = {"base": base} | others
    ratios: dict[str, list[float]] = {name: [] for name in others}
    for function in functions.values():
        function()
    begin, rounds = time.perf_counter(), 0
    while rounds < 7 or time.perf_counter() - begin < seconds:
        took = {}
        # Reverse the order each time, because the second of a pair may find warmer caches.
        for name in list(functions)[:: 1 if rounds % 2 else -1]:
            start = time.process_time()
            functions[name]()
            took[name] = time.process_time() - start
        for name in others:
            ratios[name].append(took[name] / took["base"])
        rounds += 1
    return {name: statistics.quantiles(values, n=4) for name, values in ratios.items()}


def update_ratios(name: str, seconds: float) -> dict[str, list[float]]:
    """Time of an update with masks ÷ without, for constant 40 %."""
    others = {
        "masks": trainee(name, 0.4),
        "masks and per-tensor learning rates": trainee(name, 0.4, "per_tensor"),
    }
    return paired_ratios(trainee(name, 0.0), others, seconds)


def scoring_ratio(seconds: float) -> list[float]:
    """Time of scoring a batch ÷ time of one forward and backward pass."""
    model, loss = build("espnet")

    def plain() -> None:
        model.zero_grad()
        loss(model).backward()

    score = {"scoring": lambda: snip_scores(model, lambda m, _: loss(m), [None])}
    return paired_ratios(plain, score, seconds)["scoring"]


def masks_of(count: int, levels: int) -> None:
    """Print the time and the memory of masks for this many scores at falling sparsities."""
    generator = torch.Generator().manual_seed(0)
    scores = {"a": torch.randn(count, generator=generator).abs_()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    if levels == 1:
        global_masks(scores, 0.4)
    else:
        mask_levels(scores, [0.4 * (1 - i / levels) for i in range(levels)])
    took = time.perf_counter() - start
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(
        f"  masks of {count:.0e} weights at {levels} sparsities: {took:.2f} s, "
        f"{1 + more / (4 * count):.2f} × the memory of the scores at most, scores included",
        flush=True,
    )


def live_bytes() -> int:
    """Memory of all live tensors, counting each storage once."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def memory_ratios(levels: dict[int, float]) -> tuple[float, float]:
    """Extra memory ÷ memory of the parameters, after the first update and once dense."""
    model, _ = build("espnet")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # creates the moments
    optimizer.zero_grad()
    own, before = sum(p.nbytes for p in model.parameters()), live_bytes()
    schedule = SparsitySchedule.steps(levels)
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.95)
    optimizer.step()
    sparse = (live_bytes() - before) / own
    while sniper.sparsity:
        optimizer.step()
    return sparse, (live_bytes() - before) / own


def report(what: str, quartiles: list[float], limit: float) -> None:
    lower, median, upper = quartiles
    line = f"  {what}: {median:.3f} (quartiles {lower:.3f} to {upper:.3f}; limit {limit:.2f})"
    print(line, flush=True)


def main(names: list[str]) -> None:
    torch.set_flush_denormal(True)
    keep_freed_memory()
    print(f"sniper, updates with fused Adam and clipping ({machine_description()})", flush=True)
    for name in names or MODELS:
        values = sum(p.numel() for p in build(name)[0].parameters()) / 1e6
        print(f" {name}, {values:.2f} M values", flush=True)
        limit = 1.02 if name == "espnet" else 1.05
        for what, quartiles in update_ratios(name, 90 if name == "espnet" else 15).items():
            report(f"update with {what}, constant 40 % ÷ dense", quartiles, limit)
    if names:
        return
    report("scoring a batch ÷ forward and backward", scoring_ratio(seconds=60), 1.10)
    for start in (0.4, 0.8):
        sparse, dense = memory_ratios({**FALLING, 0: start})
        print(
            f"  extra memory ÷ parameters, {start:.0%} falling to 0: {sparse:.2f} while sparse "
            f"(limit 1.3), {dense:.2f} once dense (limit 0)"
        )
    for count in (10**6, 10**7, 10**8):
        for levels in (1, 4, 100):  # each in a process of its own, whose peak of memory it is
            code = f"import sniper_cost; sniper_cost.masks_of({count}, {levels})"
            subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
