"""Stage 5: the speech of a run, and of the reference rows that it is compared with."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from omegaconf import DictConfig
from torch import Tensor

from evaluation.fingerprints import synthesis_fingerprint
from fastspeech2.synthesis import load_synthesiser
from hifigan import load_vocoder, vocoding_precision
from preprocessing.artefacts import StageFolder, atomic_path, write_csv, write_json
from preprocessing.corpus import SAMPLE_RATE
from preprocessing.errors import RecipeError
from preprocessing.language import Pronouncer, corpus_language
from preprocessing.machine import processor_name
from preprocessing.progress import progress
from preprocessing.store import FeatureStore, natural_waveform
from preprocessing.text import read_lexicon

MANIFEST = ["set", "id", "text", "wav", "seconds", "segment"]
"""Columns of manifest.csv."""


@dataclass
class Clip:
    """One sentence to be spoken; `phones` only where a model speaks it."""

    set: str
    """`heldout`, the corpus's test split, or `other`, sentences of other domains"""
    id: str
    text: str
    segment: int | None = None
    """in the feature store, where the sentence was recorded"""
    phones: list[str] | None = None


def heldout_clips(store: FeatureStore) -> list[Clip]:
    """The test split, with the phones that were heard."""
    clips = []
    for i in store.split("test"):
        segment = store.segment(i)
        phones = [store.symbols[phone] for phone in segment.phones]
        clips.append(Clip("heldout", segment.id, segment.text, int(i), phones))
    return clips


def other_clips(path: Path, pronouncer: Pronouncer) -> list[Clip]:
    """Sentences of a text file, one a line, with phones from the dictionary."""
    if not path.exists():
        raise RecipeError(f"{path} is not there: write sentences into it, one a line")
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [
        Clip("other", f"sentence-{number:02d}", line, phones=pronouncer.phones(line))
        for number, line in enumerate(lines, 1)
    ]


class Timer:
    """Seconds spent in each part of synthesis."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    def __call__(self, part: str, function: Callable, *arguments):
        started = time.perf_counter()
        result = function(*arguments)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
        return result


def _waveforms(
    config: DictConfig, store: FeatureStore, timer: Timer, run: Path
) -> list[tuple[Clip, Callable]]:
    """Pairs of a clip and a function that gives its waveform `[samples]` and phone durations."""
    if config.system not in ("model", "natural", "vocoded"):
        raise RecipeError(f"system is model, natural or vocoded, not {config.system}")
    vocoder = None if config.system == "natural" else load_vocoder(config.vocoder)
    most = config.evaluation.clips_per_set

    if config.system == "model":
        synthesiser = load_synthesiser(run)
        lexicon = read_lexicon(Path(config.paths.alignments) / "lexicon.txt")
        pronouncer = Pronouncer(lexicon, store.symbols, corpus_language(config.corpus))

        def speak(clip: Clip) -> tuple[Tensor, list[int]]:
            spoken = timer("acoustic", synthesiser.synthesise, [clip.phones])[0]
            return timer("vocoder", vocoder, [spoken.mel])[0], spoken.durations.tolist()

        other = other_clips(Path(config.evaluation.sentences), pronouncer)
        return [(clip, speak) for clip in heldout_clips(store)[:most] + other[:most]]

    def reference(clip: Clip) -> tuple[Tensor, list[int]]:
        segment = store.segment(clip.segment)
        if vocoder is None:
            return torch.from_numpy(natural_waveform(segment)), segment.durations.tolist()
        mel = torch.tensor(segment.mel)
        return timer("vocoder", vocoder, [mel])[0], segment.durations.tolist()

    return [(clip, reference) for clip in heldout_clips(store)[:most]]


def synthesise_run(config: DictConfig, run: Path) -> None:
    """Write `<run>/synthesis/<set>/<id>.wav`, manifest.csv and record.json; clips there are kept.

    Raises:
        RecipeError: the model, the vocoder or the sentences are missing.
    """
    stage = StageFolder(run / "synthesis", synthesis_fingerprint(config))
    stage.begin()
    torch.set_num_threads(config.trainer.threads)
    store, timer, rows = FeatureStore(config.paths.features), Timer(), []
    work = _waveforms(config, store, timer, run)
    timed_seconds = 0.0
    with progress(f"{run.name}: synthesising", len(work)) as show:
        for done, (clip, speak) in enumerate(work, 1):
            wav = stage.folder / clip.set / f"{clip.id}.wav"
            durations = wav.with_suffix(".durations.npy")
            if not wav.exists():
                waveform, frames = speak(clip)
                with atomic_path(durations) as temporary:
                    np.save(temporary, np.array(frames))
                with atomic_path(wav) as temporary:
                    soundfile.write(temporary, waveform.numpy(), SAMPLE_RATE, subtype="PCM_16")
                timed_seconds += len(waveform) / SAMPLE_RATE
            seconds = round(soundfile.info(wav).duration, 4)
            row = asdict(clip) | {"wav": f"{clip.set}/{clip.id}.wav", "seconds": seconds}
            rows.append({column: row[column] for column in MANIFEST})
            show(done)
    write_csv(stage.folder / "manifest.csv", MANIFEST, rows)
    # Only clips made by this very process were timed; after a kill the rest suffices.
    factors = {part: total / timed_seconds for part, total in timer.seconds.items()}
    write_json(
        stage.folder / "record.json",
        {
            "vocoder": config.vocoder.name,
            "precision": None if config.system == "natural" else vocoding_precision(config.vocoder),
            "processor": processor_name(),
            "threads": config.trainer.threads,
            "audio_seconds": sum(row["seconds"] for row in rows),
            "real_time_factors": factors,
        },
    )
    stage.finish()
