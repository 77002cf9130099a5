"""Check and time FastSpeech2, its masks and the vocoder on a GPU against the CPU.

`python scripts/bench/gpu.py` takes at most eight minutes and needs no corpus. It prints a table for
BENCHMARKS.md: differences of losses, gradients and masks from the CPU's, whether a training step
waits for the device, frames a second, memory, and the vocoder.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from evaluation.settings import Settings
from fastspeech2.model.fastspeech2 import FastSpeech2
from fastspeech2.training.data import Batch
from fastspeech2.training.loss import fastspeech2_loss
from fastspeech2.training.nonfinite import FiniteWatch
from hifigan.vocoder import load_vocoder
from pipeline.configuration import compose
from pipeline.hardware import processor_name
from sniper import Sniper, SparsitySchedule, global_masks, magnitude_scores, snip_scores
from training import MELS, VOCABULARY, ljspeech_batch

MODELS = ("tiny", "espnet", "ming024")
UPDATES = 20
SPARSITY = 0.4
CLIP_FRAMES = (120, 300, 450, 600)
Row = tuple[str, str]


def build(name: str) -> FastSpeech2:
    """A model of conf/model/ with random weights and without dropout, which differs by device."""
    torch.manual_seed(0)
    model = FastSpeech2(compose(Settings, [f"model={name}"]).model, VOCABULARY, MELS)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def build_batch(model: FastSpeech2, seed: int = 1) -> Batch:
    """Sixteen utterances of LJSpeech's lengths, planned for the model's device, on the CPU."""
    batch = ljspeech_batch(torch.Generator().manual_seed(seed))
    plan = model.plan(batch["phone_lengths"], batch["durations"])
    return Batch(ids=["random"] * len(batch["phones"]), **batch, plan=plan)


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    inputs = (batch.phones, batch.phone_lengths, batch.durations, batch.pitch, batch.energy)
    targets = (batch.mel, batch.durations, batch.pitch, batch.energy, batch.phone_lengths)
    return fastspeech2_loss(model(*inputs, plan=batch.plan), *targets).total


def differences(name: str, device: torch.device) -> list[Row]:
    """Loss, gradients and masks of one batch on the device against the CPU, in float32."""
    on_cpu = build(name)
    on_device = deepcopy(on_cpu).to(device)
    found = {}
    for model in (on_cpu, on_device):
        batch = build_batch(model).to(next(model.parameters()).device)
        loss = loss_of(model, batch)
        loss.backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        masks = global_masks(snip_scores(model, loss_of, [batch]), SPARSITY, cap=0.75)
        masks = torch.cat([mask.flatten() for mask in masks.values()])
        found[model] = loss.item(), gradients.cpu(), masks.cpu()
    (loss, gradients, masks), (its_loss, its_gradients, its_masks) = found.values()
    distance = float((its_gradients - gradients).norm() / gradients.norm())
    rows = [
        ("loss, relative difference", f"{abs(its_loss - loss) / loss:.1e}"),
        ("gradients, relative distance", f"{distance:.1e}"),
        ("masks at 40 %, share that differs", f"{float((masks != its_masks).float().mean()):.1e}"),
    ]
    with torch.autocast(device.type, torch.bfloat16):
        halved = loss_of(on_device, build_batch(on_device).to(device)).item()
    return [*rows, ("loss in bfloat16, relative difference", f"{abs(halved - loss) / loss:.1e}")]


def make_update(name: str, device: torch.device, bfloat16: bool) -> Callable[[Batch], None]:
    """A function that makes one sparse update as a training does, on a batch of the device."""
    model = build(name).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    schedule = SparsitySchedule.constant(SPARSITY)
    sniper = Sniper(model, optimizer, magnitude_scores(model), schedule, cap=0.75)
    watch = FiniteWatch(Path(tempfile.gettempdir()), "stop")

    def update(batch: Batch) -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss = loss_of(model, batch)
        watch.add(batch, loss)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        watch.guard(optimizer, norm, sniper.update + 1)
        optimizer.step()

    update.model = model
    return update


@contextmanager
def waiting_is_an_error(device: torch.device):
    """Make PyTorch raise an error where the host waits for the device."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def speed(name: str, device: torch.device, bfloat16: bool, updates: int = UPDATES) -> list[Row]:
    """Frames a second and memory over updates, during which nothing may wait for the device."""
    update = make_update(name, device, bfloat16)
    batches = [build_batch(update.model, seed) for seed in range(updates)]
    frames = sum(int(batch.durations.sum()) for batch in batches)
    batches = [batch.to(device) for batch in batches]
    for batch in batches[:3]:
        update(batch)
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    with waiting_is_an_error(device):
        for batch in batches:
            update(batch)
    synchronise(device)
    took = time.perf_counter() - start
    kind = "bfloat16" if bfloat16 else "float32"
    rows = [(f"frames of speech a second in {kind}, 40 % sparse", f"{frames / took:,.0f}")]
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
        rows.append((f"peak memory in {kind}, MB", f"{memory:,.0f}"))
    return rows


def vocoder(device: torch.device) -> list[Row]:
    """HiFi-GAN V1: its difference from the CPU, and seconds of computing for a second of speech."""
    settings = compose(Settings, []).vocoder
    generator = torch.Generator().manual_seed(0)
    mels = [torch.randn(n, MELS, generator=generator) - 5 for n in CLIP_FRAMES]
    wanted = load_vocoder(settings.model_copy(update={"precision": "32"}))(mels[:1])[0]
    rows = []
    for precision in ("32", "bf16"):
        chosen = settings.model_copy(update={"precision": precision, "frames_per_batch": 10_000})
        vocode = load_vocoder(chosen, str(device))
        found = vocode(mels[:1])[0].cpu()
        factors = []
        for _ in range(5):
            start = time.perf_counter()
            samples = sum(len(waveform) for waveform in vocode(mels))
            synchronise(device)
            factors.append((time.perf_counter() - start) * 22050 / samples)
        kind = {"32": "float32", "bf16": "bfloat16"}[precision]
        largest = float((found - wanted).abs().max())
        rows.append((f"largest difference in {kind}, of full scale", f"{largest:.1e}"))
        rows.append((f"real-time factor in {kind}", f"{statistics.median(factors):.5f}"))
    return rows


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit(
            "This machine has no GPU that PyTorch can use, so there is nothing to measure. The "
            "tests in tests/fastspeech2/test_no_waiting.py check what can be checked without one."
        )
    device = torch.device("cuda")
    torch.set_float32_matmul_precision("highest")  # TensorFloat-32 would hide differences
    print(f"GPU: {processor_name(device)}, PyTorch {torch.__version__}\n\n| | | |\n|---|---|---:|")
    for name in MODELS:
        rows = differences(name, device)
        rows += [row for bfloat16 in (False, True) for row in speed(name, device, bfloat16)]
        for what, value in rows:
            print(f"| `{name}` | {what} | {value} |", flush=True)
    for what, value in vocoder(device):
        print(f"| HiFi-GAN V1 | {what} | {value} |", flush=True)


if __name__ == "__main__":
    main()
