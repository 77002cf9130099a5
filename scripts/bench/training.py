"""The cost of training: frames per second, padding, and waiting for data.

`make bench` runs it. Frames are frames of speech without padding. Each figure is a median over
rounds in which the things compared take turns, so that a machine that slows down slows all of them.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from audio.constants import HOP, SAMPLE_RATE
from evaluation.settings import Settings
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.training.data import (
    BatchStream,
    UtteranceBatches,
    batch_loader,
    frame_budget_batches,
)
from make_large_corpus import lengths
from pipeline.configuration import PROJECT, compose
from pipeline.hardware import fast_bfloat16, keep_freed_memory, machine_description
from preprocessing.features.store import FeatureStore
from sniper_models import loss_fn

UTTERANCES, VOCABULARY, MELS = 16, 361, 80
ROUNDS = 5
FEATURES = PROJECT / "data" / "allison" / "features" / "hifigan_22k"


def ljspeech_batch(generator: torch.Generator, utterances: int = UTTERANCES) -> dict[str, Tensor]:
    """A batch like LJSpeech's: utterances of 20 to 135 phones (mean 70), 3 to 8 frames each."""
    phone_lengths = (20 + 115 * torch.rand(utterances, generator=generator) ** 1.3).long()
    phones = int(phone_lengths.max())
    inside = torch.arange(phones) < phone_lengths[:, None]
    shape = (utterances, phones)
    durations = torch.randint(3, 9, shape, generator=generator) * inside
    frames = int(durations.sum(1).max())
    return {
        "phones": torch.randint(1, VOCABULARY, shape, generator=generator) * inside,
        "phone_lengths": phone_lengths,
        "durations": durations,
        "pitch": torch.randn(shape, generator=generator) * inside,
        "energy": torch.randn(shape, generator=generator) * inside,
        "mel": torch.randn(utterances, frames, MELS, generator=generator),
    }


def updates(model_name: str, bfloat16: bool) -> Callable[[dict[str, Tensor]], None]:
    """Return a function that makes a whole update: forward, loss, backward, clipping, optimizer."""
    torch.manual_seed(0)
    model = FastSpeech2(compose(Settings, [f"model={model_name}"]).model, VOCABULARY)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def update(batch: dict[str, Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = loss_fn(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()

    return update


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def training() -> None:
    """Print the frames of speech per second of each model; precisions take turns at each batch.

    bfloat16 is left out if the processor has no instructions for it.
    """
    for model_name in ("tiny", "espnet", "ming024"):
        kinds = {"float32": updates(model_name, False)}
        if fast_bfloat16():
            kinds["bfloat16"] = updates(model_name, True)
        generator = torch.Generator().manual_seed(1)
        speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for number in range(1 + ROUNDS):
            batch = ljspeech_batch(generator)
            for kind, update in kinds.items():
                took = seconds(lambda update=update, batch=batch: update(batch))
                if number:  # the first round compiles and allocates
                    speeds[kind].append(int(batch["durations"].sum()) / took)
        medians = {kind: statistics.median(values) for kind, values in speeds.items()}
        text = ", ".join(f"{value:.0f} in {kind}" for kind, value in medians.items())
        print(f"  {model_name}: frames per second: {text}", flush=True)


def profile() -> None:
    """Print the ten operations that take the most time in a float32 update of `ming024`."""
    update, batch = updates("ming024", False), ljspeech_batch(torch.Generator().manual_seed(1))
    update(batch)
    with torch.profiler.profile() as profiled:
        update(batch)
    events = sorted(profiled.key_averages(), key=lambda event: -event.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    slowest = (f"{event.key} {event.self_cpu_time_total / whole:.1%}" for event in events[:10])
    print(f"  ming024: time of a float32 update by operation: {', '.join(slowest)}", flush=True)


def padding_fraction(frames: np.ndarray, budget: int) -> float:
    """Fraction of padding in one pass of shuffled batches over utterances of these lengths."""
    batches = frame_budget_batches(frames, budget, np.random.default_rng(0))
    held = sum(frames[batch].max() * len(batch) for batch in batches)
    return 1 - frames.sum() / held


def data() -> None:
    """Print the padding in batches, and how much of its time a training waits for batches."""
    seconds_of_clips = lengths(12_600, np.random.default_rng(0))
    ljspeech = np.round(seconds_of_clips * SAMPLE_RATE / HOP).astype(np.int64)
    print(f"  padding: LJSpeech's lengths, 9000 frames: {padding_fraction(ljspeech, 9000):.1%}")
    if not FEATURES.exists():
        print(f"  {FEATURES} does not exist: run `make stage3` to measure padding and waiting too")
        return
    batches = UtteranceBatches(FeatureStore(FEATURES), "train")
    print(f"  padding: allison, 1500 frames: {padding_fraction(batches.frames, 1500):.1%}")
    update = updates("tiny", fast_bfloat16())
    waited = worked = 0.0
    loader = iter(batch_loader(batches, BatchStream(batches.frames, 1500, 0, 0, 60)))
    for _ in range(60):
        start = time.perf_counter()
        batch = next(loader)
        waited += time.perf_counter() - start
        worked += seconds(lambda batch=batch: update(vars(batch)))
    print(f"  waiting for batches, tiny on allison: {waited / (waited + worked):.1%} of the time")


def main() -> None:
    torch.set_flush_denormal(True)
    keep_freed_memory()
    print(f"training ({machine_description()})", flush=True)
    training()
    profile()
    data()


if __name__ == "__main__":
    main()
