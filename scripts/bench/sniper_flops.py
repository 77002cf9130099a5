"""Theoretical FLOPs of `espnet` in sparse training, and the sizes of its compact checkpoints.

`python scripts/bench/sniper_flops.py` prints a table in less than a minute.
"""

import tempfile
from pathlib import Path

import torch

from fastspeech2.kernels.select import faster_kernels
from sniper import Switch, compact, count_flops, expand, global_masks, magnitude_scores, sparsity_of
from sniper_models import espnet

SCHEDULES = {
    "dense": {0: 0.0},
    "constant 40 %": {0: 0.4},
    "40 → 20 → 10 → 0 %": {0: 0.4, 500: 0.2, 1000: 0.1, 2000: 0.0},
}
UPDATES = 40_000


def size(state: dict) -> int:
    """Return the bytes of a checkpoint, after checks that its compact form has the same bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(compact(state), path)
        again = expand(torch.load(path, weights_only=True))
        assert all(torch.equal(again[name], value) for name, value in state.items())
        return path.stat().st_size


def main() -> None:
    torch.manual_seed(0)
    model, loss = espnet()
    with faster_kernels(frozenset()):  # the faster ways do not use the weights as they are
        flops = count_flops(model.eval(), loss)
    scores = magnitude_scores(model)
    masks = {s: global_masks(scores, s, cap=0.75) for s in (0.4, 0.2, 0.1, 0.0)}
    tensors = {s: {n: sparsity_of({n: m}) for n, m in each.items()} for s, each in masks.items()}
    print("| | forward at first, GFLOPs | training, PFLOPs | dense = 1 | checkpoint at first, MB |")
    print("|---|---|---|---|---|")
    for name, levels in SCHEDULES.items():
        record = [
            Switch(update, s, sparsity_of(masks[s]), tensors[s]) for update, s in levels.items()
        ]
        state = model.state_dict()
        state |= {n: state[n].masked_fill(~mask, 0) for n, mask in masks[levels[0]].items()}
        first, training = flops.forward(record[0].tensors), flops.training(record, UPDATES)
        relative = training / flops.training([], UPDATES)
        print(
            f"| {name} | {first / 1e9:.1f} | {training / 1e15:.2f} | {relative:.3f} "
            f"| {size(state) / 1e6:.1f} |"
        )


if __name__ == "__main__":
    main()
