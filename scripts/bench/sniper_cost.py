"""The cost of sparse training of the model `espnet`: time of an update, scoring, memory.

`make bench` runs it, and so does `python scripts/bench/sniper_cost.py`. Each time is the median of
the ratios of paired steps, which alternate between the two things compared: a machine that slows
down for a while slows both. The quartiles beside a ratio say how far to trust it, since other work
on the machine widens them.
"""

import gc
import statistics
import time
from collections.abc import Callable

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.training.loss import fastspeech2_loss
from pipeline.configuration import PROJECT
from pipeline.hardware import keep_freed_memory, machine_description
from sniper import Sniper, SparsitySchedule, magnitude_scores, snip_scores

VOCABULARY, MELS = 80, 80
# A minibatch of the recipe `ljspeech` has 9,000 frames. That recipe accumulates eight of them for
# an update, where masks cost less than here: two of their three passes happen once an update.
UTTERANCES, PHONES, FRAMES_PER_PHONE = 16, 70, 8
FALLING = {0: 0.4, 2: 0.2, 3: 0.1, 4: 0.0}

Batch = dict[str, Tensor]


def build_model() -> FastSpeech2:
    """The `espnet` model of conf/model/, with random weights."""
    torch.manual_seed(0)
    config = OmegaConf.load(PROJECT / "conf" / "model" / "espnet.yaml")
    return FastSpeech2(config, VOCABULARY, MELS)


def build_batch() -> Batch:
    """Random utterances, `[utterances, phones]` and `[utterances, frames, mels]`."""
    generator = torch.Generator().manual_seed(1)
    shape = (UTTERANCES, PHONES)
    return {
        "phones": torch.randint(1, VOCABULARY, shape, generator=generator),
        "phone_lengths": torch.full((UTTERANCES,), PHONES),
        "durations": torch.full(shape, FRAMES_PER_PHONE),
        "pitch": torch.randn(shape, generator=generator),
        "energy": torch.randn(shape, generator=generator),
        "mel": torch.randn(UTTERANCES, PHONES * FRAMES_PER_PHONE, MELS, generator=generator),
    }


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    inputs = [batch[k] for k in ("phones", "phone_lengths", "durations", "pitch", "energy")]
    output = model(*inputs)
    targets = [batch[k] for k in ("mel", "durations", "pitch", "energy", "phone_lengths")]
    return fastspeech2_loss(output, *targets).total


def trainee(sparsity: float, lr_scaling: str, batch: Batch) -> Callable[[], None]:
    """Return a function that makes one update of its own model at a constant sparsity."""
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    schedule = SparsitySchedule.constant(sparsity)
    Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.75, lr_scaling=lr_scaling)

    def update() -> None:
        optimizer.zero_grad()
        loss_fn(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return update


def paired_ratios(
    base: Callable[[], None],
    others: dict[str, Callable[[], None]],
    seconds: float,
) -> dict[str, list[float]]:
    """Quartiles over rounds of the time of each function ÷ the time of `base` in the same round.

    Rounds continue for `seconds`, and there are at least seven.
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
            start = time.perf_counter()
            functions[name]()
            took[name] = time.perf_counter() - start
        for name in others:
            ratios[name].append(took[name] / took["base"])
        rounds += 1
    return {name: statistics.quantiles(values, n=4) for name, values in ratios.items()}


def update_ratios(seconds: float) -> dict[str, list[float]]:
    """Time of an update with masks ÷ without, for constant 40 %."""
    batch = build_batch()
    others = {
        "masks": trainee(0.4, "none", batch),
        "masks and per-tensor learning rates": trainee(0.4, "per_tensor", batch),
    }
    return paired_ratios(trainee(0.0, "none", batch), others, seconds)


def scoring_ratio(seconds: float) -> list[float]:
    """Time of scoring a batch ÷ time of one forward and backward pass."""
    model, batch = build_model(), build_batch()

    def plain() -> None:
        model.zero_grad()
        loss_fn(model, batch).backward()

    score = {"scoring": lambda: snip_scores(model, loss_fn, [batch])}
    return paired_ratios(plain, score, seconds)["scoring"]


def live_bytes() -> int:
    """Memory of all live tensors, counting each storage once."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def memory_ratios(levels: dict[int, float]) -> tuple[float, float]:
    """Extra memory ÷ memory of the parameters, after the first update and once dense."""
    model = build_model()
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


def main() -> None:
    torch.set_flush_denormal(True)
    keep_freed_memory()
    values = sum(p.numel() for p in build_model().parameters()) / 1e6
    frames = UTTERANCES * PHONES * FRAMES_PER_PHONE
    print(
        f"sniper on FastSpeech2 (espnet, {values:.1f} M values; {frames} frames an update; ", end=""
    )
    print(f"fused Adam, clipping; {machine_description()})", flush=True)
    limits = {"masks": 1.02, "masks and per-tensor learning rates": 1.03}
    for name, quartiles in update_ratios(seconds=90).items():
        report(f"update with {name}, constant 40 % ÷ dense", quartiles, limits[name])
    report("scoring a batch ÷ forward and backward", scoring_ratio(seconds=60), 1.10)
    for start in (0.4, 0.8):
        sparse, dense = memory_ratios({**FALLING, 0: start})
        print(
            f"  extra memory ÷ parameters, {start:.0%} falling to 0: {sparse:.2f} while sparse "
            f"(limit 1.3), {dense:.2f} once dense (limit 0)"
        )


if __name__ == "__main__":
    main()
