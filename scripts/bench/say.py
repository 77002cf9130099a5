"""How long it takes from `make say` to a wav, of one sentence and each backend there is.

`make bench` prints it; `RUN=<folder in exp/allison/>` chooses the run. Each time is of a new
process, whose files the kernel has in memory from the one before.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.entry_point import PROJECT
from pipeline.hardware import machine_description

TIMES = 5
DEMO = "sparsity.start=0.4,sparsity=decaying"


def seconds(run: str, backend: str) -> float:
    """From starting the process to its end, when the wav is there."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "say.wav"
        begun = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "scripts/say.py", f'name="{run}"', f'output="{output}"'),
                *("text=The weather will be fine this afternoon.", f"backend={backend}"),
            ],
            cwd=PROJECT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        took = time.perf_counter() - begun
        assert output.exists()
    return took


def main() -> None:
    run = os.environ.get("RUN", DEMO)
    folder = PROJECT / "exp" / "allison" / run
    made = {"torch": folder / "train" / "model.pt", "onnx": folder / "onnx" / "speech.json"}
    print(f"speaking one sentence, from starting Python to the wav ({machine_description()})")
    print(f"  {run}:", flush=True)
    for backend, path in made.items():
        if not path.exists():
            print(f"  {backend}: {path} is not there: run `make demo`, for onnx `make export` too")
            continue
        seconds(run, backend)  # reads the files into memory
        times = [seconds(run, backend) for _ in range(TIMES)]
        low, *_, high = sorted(times)
        print(
            f"  {backend}: {statistics.median(times):.1f} s ({low:.1f} to {high:.1f})", flush=True
        )


if __name__ == "__main__":
    main()
