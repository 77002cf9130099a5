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

from audio.constants import SAMPLE_RATE
from audio.wav import write_wav
from fastspeech2.synthesis.synthesiser import Synthesiser, load_synthesiser
from hifigan import load_vocoder, vocoding_precision
from pipeline.errors import RecipeError
from pipeline.files import write_array, write_csv, write_json
from pipeline.hardware import device_of, processor_name
from pipeline.progress import progress
from pipeline.settings import check_choice
from pipeline.stage_folder import StageFolder
from pipeline.stages import other_sentences, synthesis_fingerprint
from preprocessing.features.store import FeatureStore, Segment, natural_waveform
from preprocessing.text.language import corpus_language
from preprocessing.text.lexicon import read_lexicon
from preprocessing.text.pronouncer import Pronouncer
from speech.settings import check_settings

MANIFEST = ["set", "id", "text", "wav", "seconds", "segment"]
"""Columns of manifest.csv."""

CLIPS_AT_ONCE = 32
"""Clips that are computed together: enough to fill a GPU, and all that a kill can lose."""


@dataclass
class Clip:
    """One sentence to be spoken; `phones` only where a model speaks it."""

    set: str
    """`heldout`, the corpus's test split, or `other`, sentences of other domains"""
    id: str
    text: str
    segment: int | None = None
    """in the feature store, where the sentence was recorded"""
    phones: Tensor | np.ndarray | None = None
    """indices into the model's vocabulary, `[phones]`"""


def heldout_clips(store: FeatureStore) -> list[Clip]:
    """The test split, with the phones that were heard."""
    clips = []
    for i in store.split("test"):
        segment = store.segment(i)
        clips.append(Clip("heldout", segment.id, segment.text, int(i), segment.phones))
    return clips


def other_clips(text: str, pronouncer: Pronouncer, synthesiser: Synthesiser) -> list[Clip]:
    """Sentences, one a line, with phones from the dictionary."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    clips = []
    for number, line in enumerate(lines, 1):
        phones = synthesiser.indices(pronouncer.phones(line))
        clips.append(Clip("other", f"sentence-{number:02d}", line, phones=phones))
    return clips


Speak = Callable[[list[Clip]], list[tuple[Tensor, list[int]]]]
"""From clips to their waveforms `[samples]` and the frames of each phone."""


class Timer:
    """Seconds spent in each part of synthesis."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    def __call__(self, part: str, function: Callable, *arguments):
        started = time.perf_counter()
        result = function(*arguments)
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started
        return result


def _speaker(
    config: DictConfig, store: FeatureStore, timer: Timer, run: Path
) -> tuple[list[Clip], Speak]:
    """The clips of a run, and what speaks some of them together."""
    check_choice("system", config.system, ("model", "natural", "vocoded"))
    device, most = device_of(config.trainer.accelerator), config.evaluation.clips_per_set
    clips = heldout_clips(store)[:most]
    if config.system == "natural":
        return clips, lambda some: [_recorded(store.segment(clip.segment)) for clip in some]

    vocoder = load_vocoder(config.vocoder, device)
    if config.system == "vocoded":

        def speak(some: list[Clip]) -> list[tuple[Tensor, list[int]]]:
            segments = [store.segment(clip.segment) for clip in some]
            mels = [torch.tensor(segment.mel) for segment in segments]
            durations = [segment.durations.tolist() for segment in segments]
            return list(zip(timer("vocoder", vocoder, mels), durations, strict=True))

        return clips, speak

    synthesiser = load_synthesiser(run, device)
    if list(synthesiser.index) != store.symbols:
        raise RecipeError(f"{run} was trained on other phones than {store.folder} has: train again")
    sentences = other_sentences(config.evaluation.sentences)
    lexicon = read_lexicon(Path(config.paths.alignments) / "lexicon.txt")
    pronouncer = Pronouncer(lexicon, store.symbols, corpus_language(config.corpus))
    clips += other_clips(sentences, pronouncer, synthesiser)[:most]

    def synthesise(some: list[Clip]) -> list[tuple[Tensor, list[int]]]:
        spoken = timer("acoustic", synthesiser.synthesise, [clip.phones for clip in some])
        waveforms = timer("vocoder", vocoder, [each.mel for each in spoken])
        durations = [each.durations.tolist() for each in spoken]
        return list(zip(waveforms, durations, strict=True))

    return clips, synthesise


def _recorded(segment: Segment) -> tuple[Tensor, list[int]]:
    return torch.from_numpy(natural_waveform(segment)), segment.durations.tolist()


def synthesise_run(config: DictConfig, run: Path) -> None:
    """Write `<run>/synthesis/<set>/<id>.wav`, manifest.csv and record.json; clips there are kept.

    Raises:
        RecipeError: the model, the vocoder or the sentences are missing.
    """
    check_settings(config)
    torch.set_num_threads(config.trainer.threads)
    store, timer = FeatureStore(config.paths.features), Timer()
    clips, speak = _speaker(config, store, timer, run)
    stage = StageFolder(run / "synthesis", synthesis_fingerprint(config))
    stage.begin()
    wavs = [stage.folder / clip.set / f"{clip.id}.wav" for clip in clips]
    timed_seconds = 0.0
    with progress(f"{run.name}: synthesising", len(clips)) as show:
        for start in range(0, len(clips), CLIPS_AT_ONCE):
            together = slice(start, start + CLIPS_AT_ONCE)
            # All or none, so that what a clip was computed beside does not depend on a kill.
            if not all(wav.exists() for wav in wavs[together]):
                spoken = speak(clips[together])
                for wav, (waveform, durations) in zip(wavs[together], spoken, strict=True):
                    write_array(wav.with_suffix(".durations.npy"), durations)
                    write_wav(wav, waveform.numpy())
                    timed_seconds += len(waveform) / SAMPLE_RATE
            show(min(together.stop, len(clips)))
    rows = []
    for clip, wav in zip(clips, wavs, strict=True):
        seconds = round(soundfile.info(wav).duration, 4)
        row = asdict(clip) | {"wav": f"{clip.set}/{clip.id}.wav", "seconds": seconds}
        rows.append({column: row[column] for column in MANIFEST})
    write_csv(stage.folder / "manifest.csv", MANIFEST, rows)
    # Only clips made by this very process were timed; after a kill the rest suffices.
    factors = {part: total / timed_seconds for part, total in timer.seconds.items()}
    device = device_of(config.trainer.accelerator)
    precision = None if config.system == "natural" else vocoding_precision(config.vocoder, device)
    write_json(
        stage.folder / "record.json",
        {
            "vocoder": config.vocoder.name,
            "precision": precision,
            "processor": processor_name(device),
            "threads": config.trainer.threads,
            "audio_seconds": sum(row["seconds"] for row in rows),
            "real_time_factors": factors,
        },
    )
    stage.finish()
