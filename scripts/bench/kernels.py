"""What each kernel of fastspeech2/kernels/ gains: the time of an update without it.

`python scripts/bench/kernels.py [tiny espnet ming024]`. Each figure is the median, over rounds in
which all variants take turns on the same batch, of the time of an update without the kernel divided
by the time with all of them. Kernels that a machine or a model does not use come out as 1.
"""

import statistics
import sys

import torch

from fastspeech2.kernels.select import FASTER, faster_kernels
from pipeline.hardware import fast_bfloat16, keep_freed_memory, machine_description
from training import ljspeech_batch, seconds, updates

UTTERANCES = 4
"""Some 1,500 frames, which `trainer=cpu` puts into a batch."""
ROUNDS = {"tiny": 15, "espnet": 5, "ming024": 5}


def ratios(model: str, bfloat16: bool) -> dict[str, float]:
    """Time of an update without each kernel, and without all of them, ÷ with all of them."""
    update = updates(model, bfloat16)
    variants = {"all of them": frozenset()} | {name: FASTER - {name} for name in sorted(FASTER)}
    generator = torch.Generator().manual_seed(1)
    found: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(1 + ROUNDS[model]):
        batch = ljspeech_batch(generator, UTTERANCES)
        took = {}
        for name, enabled in {"none": FASTER, **variants}.items():
            with faster_kernels(enabled):
                took[name] = seconds(lambda batch=batch: update(batch))
        if number:  # the first round compiles and allocates
            for name in variants:
                found[name].append(took[name] / took["none"])
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    print(f"kernels ({machine_description()}): time of an update without ÷ with")
    for model in sys.argv[1:] or ROUNDS:
        for kind in ("float32", "bfloat16") if fast_bfloat16() else ("float32",):
            text = ", ".join(f"{n} {r:.2f}" for n, r in ratios(model, kind == "bfloat16").items())
            print(f"  {model}, {kind}: {text}", flush=True)


if __name__ == "__main__":
    main()
