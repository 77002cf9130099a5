"""Measures stage 3: against one process that works as ming024/FastSpeech2 does, and as a whole.

    python scripts/bench/features.py pairs recipe=ljspeech paths.data=...    # 8 pairs of 40 clips
    python scripts/bench/features.py whole recipe=ljspeech paths.data=...    # with a kill half-way
    python scripts/bench/features.py epoch recipe=ljspeech paths.data=...    # time to first batch

The overrides are those of stage 3. Stages 1 and 2 have to be finished.
scripts/bench/make_large_corpus.py makes a corpus of LJSpeech's size.
"""

import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir

from audio.constants import SAMPLE_RATE
from audio.wav import read_wav
from pipeline.configuration import PROJECT
from pipeline.hardware import machine_description
from preprocessing.corpus.metadata import read_metadata

PAIRS, CLIPS_IN_PAIR = 8, 40


def baseline(wavs: list[Path]) -> None:
    """Extract F0 by dio and stonemask, and mel and energy by a convolution, in one thread.

    Reading alignments and averaging over phones, which stage 3 does too, are left out.
    """
    import pyworld
    import torch

    from audio.constants import HOP
    from audio.mel import WINDOW, mel_of_magnitude

    basis = np.fft.fft(np.eye(WINDOW))[: WINDOW // 2 + 1] * np.hanning(WINDOW)
    kernels = torch.from_numpy(np.vstack([basis.real, basis.imag])[:, None]).float()
    for wav in wavs:
        waveform = read_wav(wav)
        double = waveform.astype(np.float64)
        f0, times = pyworld.dio(double, SAMPLE_RATE, frame_period=1000 * HOP / SAMPLE_RATE)
        pyworld.stonemask(double, f0, times, SAMPLE_RATE)
        padded = torch.nn.functional.pad(
            torch.from_numpy(waveform)[None, None], (WINDOW // 2, WINDOW // 2), mode="reflect"
        )
        real, imaginary = torch.nn.functional.conv1d(padded, kernels, stride=HOP)[0].chunk(2)
        magnitude = torch.sqrt(real**2 + imaginary**2)
        torch.linalg.vector_norm(magnitude, dim=0)
        mel_of_magnitude(magnitude)


def ours(wavs: list[Path], grids, settings) -> None:
    """Extract the features of some clips as one process of stage 3 does."""
    import torch

    from preprocessing.features.extract import extract
    from preprocessing.text.phones import ARPABET

    torch.set_num_threads(1)
    for wav in wavs:
        extract(read_wav(wav), grids.alignment(wav.stem, ARPABET), settings)


def pairs(config, _) -> None:
    """Time both ways on the same clips, one after the other, in alternating order."""
    import torch
    from joblib import Parallel, cpu_count, delayed

    from preprocessing.alignment.parsed import TextGrids

    torch.set_num_threads(1)
    corpus = Path(config.paths.corpus)
    utterances = read_metadata(corpus / "metadata.csv")
    chosen = np.random.default_rng(0).choice(len(utterances), PAIRS * CLIPS_IN_PAIR, replace=False)
    wavs = [corpus / "wavs" / f"{utterances[i].id}.wav" for i in chosen]
    settings = config.features
    grids = TextGrids.load(Path(config.paths.alignments).absolute())
    grids = grids.part(wav.stem for wav in wavs)
    processes = cpu_count()

    def both_processes(some: list[Path]) -> None:
        parts = (some[i::processes] for i in range(processes))
        parallel(delayed(ours)(part, grids, settings) for part in parts)

    def one_process(some: list[Path]) -> None:
        ours(some, grids, settings)

    # With larger batches, joblib might give the parts of all processes to one of them.
    with Parallel(n_jobs=processes, batch_size=1) as parallel:
        baseline(wavs[:2])
        one_process(wavs[:2])
        both_processes(wavs[:4])
        times = []
        for pair in range(PAIRS):
            some = wavs[pair * CLIPS_IN_PAIR : (pair + 1) * CLIPS_IN_PAIR]
            tasks = [baseline, one_process, both_processes]
            measured = {}
            for task in tasks if pair % 2 else tasks[::-1]:
                begun = time.perf_counter()
                task(some)
                measured[task] = time.perf_counter() - begun
            times.append([measured[task] for task in tasks])
    slow, one, both = np.array(times).T
    print(f"one process, convolution: {CLIPS_IN_PAIR / np.median(slow):.1f} clips/s")
    for name, fast in (("1 process", one), (f"{processes} processes", both)):
        low, middle, high = np.percentile(slow / fast, [25, 50, 75])
        print(
            f"stage 3, {name}: {CLIPS_IN_PAIR / np.median(fast):.1f} clips/s, {middle:.2f} times "
            f"as many in the median pair ({low:.2f} to {high:.2f} in the middle half)"
        )


def private_megabytes(pid: int) -> float:
    """Megabytes of a process and its descendants, without mapped files.

    The kernel drops pages of files when other processes need the memory.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024
    return own + sum(private_megabytes(int(child)) for child in children)


def run_stage(overrides: list[str], shards: Path, stop_at: int | None) -> list[tuple]:
    """Run stage 3, and kill it once it has written `stop_at` shards.

    Returns:
        Seconds, shards and private megabytes, sampled once a second.
    """
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "scripts" / "stage3_features.py"), *overrides],
        start_new_session=True,
    )
    begun, samples = time.monotonic(), []
    while process.poll() is None:
        done = len(list(shards.glob("[0-9]*.npz")))
        samples.append((time.monotonic() - begun, done, private_megabytes(process.pid)))
        if stop_at and done >= stop_at:
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(1)
    assert stop_at or process.returncode == 0
    return samples


def whole(config, overrides: list[str]) -> None:
    """Run stage 3, kill it half-way, and run it again."""
    from preprocessing.features.build import UTTERANCES_IN_SHARD

    shards = Path(config.paths.features) / "shards"
    clips = len(read_metadata(Path(config.paths.corpus) / "metadata.csv"))
    total = -(-clips // UTTERANCES_IN_SHARD)
    first = run_stage(overrides, shards, total // 2)
    kept = {path: path.stat().st_mtime_ns for path in shards.glob("[0-9]*.npz")}
    print(f"killed after {first[-1][0]:.0f} s with {len(kept)} of {total} shards")
    second = run_stage(overrides, shards, None)
    print(f"run again: {second[-1][0]:.0f} s, its first count of shards {second[0][1]}")
    for name, samples in (("first", first), ("second", second)):
        working = [(s, done, mb) for s, done, mb in samples if samples[0][1] < done < total]
        (start, before, _), (end, after, _) = working[0], working[-1]
        rate = (after - before) * UTTERANCES_IN_SHARD / (end - start)
        memory = np.array([mb for _, _, mb in working])
        third = len(memory) // 3
        print(
            f"{name}: {rate:.1f} clips/s; private memory at most "
            f"{max(mb for *_, mb in samples):.0f} MB, in the first third of the extraction "
            f"{memory[:third].mean():.0f} MB, in the last {memory[-third:].mean():.0f} MB"
        )


def epoch(config, _) -> None:
    """Measure the time and memory that it takes to open the store and make the first batch."""
    import torch  # noqa: F401  # Not to be measured, since every training imports it.

    from fastspeech2.training.data import BatchStream, UtteranceBatches, batch_loader
    from preprocessing.features.store import FeatureStore

    before, begun = private_megabytes(os.getpid()), time.perf_counter()
    batches = UtteranceBatches(FeatureStore(config.paths.features), "train")
    settings = config.trainer
    stream = BatchStream(batches.frames, settings.frames_per_batch, 0, 0, settings.updates)
    next(iter(batch_loader(batches, stream)))
    seconds = time.perf_counter() - begun
    memory = private_megabytes(os.getpid()) - before
    print(f"{len(batches)} utterances: {seconds:.2f} s to the first batch, {memory:.0f} MB private")


def main() -> None:
    tasks = {"pairs": pairs, "whole": whole, "epoch": epoch}
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=tasks)
    parser.add_argument("overrides", nargs="*", help="those of stage 3")
    arguments = parser.parse_args()
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("config", overrides=arguments.overrides)
    print(f"features ({machine_description()})", flush=True)
    tasks[arguments.task](config, arguments.overrides)


if __name__ == "__main__":
    main()
