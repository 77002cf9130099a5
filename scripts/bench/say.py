"""The time from `make say` to a wav, for one sentence with each backend.

`make bench` runs this, and `RUN=<folder in exp/allison/>` chooses the run. Each measurement starts
a new process, whose files are in the page cache already.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.configuration import PROJECT
from pipeline.hardware import machine_description

REPETITIONS = 5
DEMO = "sparsity.start=0.4,sparsity=decaying"


def seconds(run: str, backend: str) -> float:
    """Measure one process from its start to its end, when the wav is written."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "say.wav"
        started = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "scripts/say.py", f'name="{run}"', f'say.output="{output}"'),
                *("say.text=The weather will be fine this afternoon.", f"say.backend={backend}"),
            ],
            cwd=PROJECT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        took = time.perf_counter() - started
        assert output.exists()
    return took


def main() -> None:
    run = os.environ.get("RUN", DEMO)
    folder = PROJECT / "exp" / "allison" / run
    models = {"torch": folder / "train" / "model.pt", "onnx": folder / "onnx" / "speech.json"}
    print(f"one sentence, from the start of Python to the wav ({machine_description()})")
    print(f"  {run}:", flush=True)
    for backend, path in models.items():
        if not path.exists():
            print(f"  {backend}: {path} is missing: run `make demo`, and for onnx `make export`")
            continue
        seconds(run, backend)  # fills the page cache
        times = [seconds(run, backend) for _ in range(REPETITIONS)]
        low, *_, high = sorted(times)
        print(
            f"  {backend}: {statistics.median(times):.1f} s ({low:.1f} to {high:.1f})", flush=True
        )


if __name__ == "__main__":
    main()
