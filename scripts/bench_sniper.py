"""What sparse training costs on the `espnet`-size FastSpeech2: time of an update, scoring, memory.

`make bench` prints it; `python scripts/bench_sniper.py` does alone. Times are medians of the ratios
of pairs of steps that alternate between the two things compared, so that a machine which is slowed
down for a while slows both.
"""

import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from fastspeech2.loss import fastspeech2_loss  # noqa: E402 - needs the project on the path
from fastspeech2.model import FastSpeech2  # noqa: E402
from sniper import Sniper, SparsitySchedule, magnitude_scores, snip_scores  # noqa: E402

VOCABULARY, MELS = 80, 80
# One minibatch an update, of LJSpeech's mean length. The paper's updates are of 8 minibatches, some
# 40 utterances: masks cost less there, as two of their three passes are made once an update.
UTTERANCES, PHONES, FRAMES_PER_PHONE = 8, 70, 8
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
    output = model(*inputs, frames=batch["mel"].shape[1])
    targets = [batch[k] for k in ("mel", "durations", "pitch", "energy", "phone_lengths")]
    return fastspeech2_loss(output, *targets).total


def trainee(sparsity: float, lr_scaling: str, batch: Batch) -> Callable[[], None]:
    """A function that makes one update of a model of its own, at a constant sparsity."""
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    schedule = SparsitySchedule.constant(sparsity)
    Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.75, lr_scaling=lr_scaling)

    def update() -> None:
        optimizer.zero_grad()
        loss_fn(model, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return update


def paired_ratios(
    base: Callable[[], None],
    others: dict[str, Callable[[], None]],
    pairs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median over `pairs` rounds of each function's time ÷ that of `base` in the same round."""
    functions = {"base": base} | others
    ratios: dict[str, list[float]] = {name: [] for name in others}
    for function in functions.values():
        function()
    for number in range(pairs):
        seconds = {}
        # Turn the order round each time: the second of a pair may find warmer caches.
        for name in list(functions)[:: 1 if number % 2 else -1]:
            start = clock()
            functions[name]()
            seconds[name] = clock() - start
        for name in others:
            ratios[name].append(seconds[name] / seconds["base"])
    return {name: statistics.median(values) for name, values in ratios.items()}


def update_ratios(pairs: int = 11, clock: Callable[[], float] = time.perf_counter) -> dict:
    """Time of an update with masks ÷ without, for constant 40 %."""
    batch = build_batch()
    others = {
        "masks": trainee(0.4, "none", batch),
        "masks and per-tensor learning rates": trainee(0.4, "per_tensor", batch),
    }
    return paired_ratios(trainee(0.0, "none", batch), others, pairs, clock)


def scoring_ratio(pairs: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
    """Time of scoring ÷ one forward and backward, per batch, over scorings of two batches."""
    model, batches = build_model(), [build_batch()] * 2

    def plain() -> None:
        for batch in batches:
            model.zero_grad()
            loss_fn(model, batch).backward()

    score = {"scoring": lambda: snip_scores(model, loss_fn, batches)}
    return paired_ratios(plain, score, pairs, clock)["scoring"]


def live_bytes() -> int:
    """Memory of all tensors alive, each storage once."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if type(item) in (Tensor, nn.Parameter)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def memory_ratios(levels: dict[int, float]) -> tuple[float, float]:
    """Extra memory ÷ parameter memory after the first update, and once dense."""
    model = build_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # moments are there from now on
    optimizer.zero_grad()
    own, before = sum(p.nbytes for p in model.parameters()), live_bytes()
    schedule = SparsitySchedule.steps(levels)
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.95)
    optimizer.step()
    sparse = (live_bytes() - before) / own
    while sniper.sparsity:
        optimizer.step()
    return sparse, (live_bytes() - before) / own


def main() -> None:
    torch.set_flush_denormal(True)
    model = build_model()
    total = sum(p.numel() for p in model.parameters())
    print(f"sniper on FastSpeech2 (espnet, {total / 1e6:.1f} M values, {torch.get_num_threads()} ")
    print(f"threads, {UTTERANCES} utterances of {PHONES * FRAMES_PER_PHONE} frames, Adam fused)")
    limits = {"masks": 1.02, "masks and per-tensor learning rates": 1.03}
    for name, ratio in update_ratios().items():
        print(f"  update with {name}, constant 40 % ÷ dense: {ratio:.3f} (limit {limits[name]})")
    print(f"  scoring ÷ forward and backward, a batch: {scoring_ratio():.3f} (limit 1.1)")
    for start in (0.4, 0.8):
        levels = {0: start} | {u: s for u, s in FALLING.items() if u}
        sparse, dense = memory_ratios(levels)
        print(
            f"  extra memory ÷ parameters from {start:.0%}: {sparse:.2f} while sparse "
            f"(limit 1.3), {dense:.2f} once dense (limit 0)"
        )


if __name__ == "__main__":
    main()
