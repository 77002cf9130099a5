"""Stage 6: measure each sentence of a run, and the run as a whole."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from audio.constants import SAMPLE_RATE
from evaluation.metrics.distances import distance, duration_errors_ms
from evaluation.metrics.error_rates import ErrorRates
from evaluation.metrics.measures import MEASURES, NOT_RECOGNISED, Measure
from evaluation.metrics.naturalness import NaturalnessPredictor
from evaluation.metrics.pitch import PITCH_MEASURES, pitch_distance
from evaluation.metrics.recognition import RECOGNISER_RATE, Recogniser
from evaluation.settings import Settings
from pipeline.files import read_csv, read_json, write_csv, write_json
from pipeline.hardware import device_of
from pipeline.progress import progress
from pipeline.stages import EVALUATION
from preprocessing.features.store import FeatureStore, natural_waveform

TRAINING_DEFINITIONS = {
    "real_time_factors": "Seconds of computing per second of speech, for the acoustic model and "
    "for the vocoder. Number of threads: {threads}.",
    "train_seconds": "Wall-clock time of training, validation included. Other work on the machine "
    "at the same time lengthens it.",
    "final_sparsity": "Fraction of the prunable weights that are masked at the end, counted.",
}
"""Definitions of what records of training and synthesis hold."""


def evaluate_run(config: Settings) -> None:
    """Write metrics.json and utterances.csv into the run's `evaluation/`.

    The results of each clip are kept in `evaluation/clips/`, so a stopped evaluation continues
    where it was.
    """
    run = Path(config.paths.run)
    torch.set_num_threads(config.inference.threads)
    synthesis = run / "synthesis"
    clips = read_csv(synthesis / "manifest.csv")
    store = FeatureStore(config.paths.features)
    device = device_of(config.inference.accelerator)
    recogniser = None
    if config.evaluation.recogniser:
        recogniser = Recogniser(config.evaluation, config.inference.threads, device)
    naturalness, error_rates = NaturalnessPredictor(), ErrorRates()
    stage = EVALUATION.output(config)
    stage.begin()

    rows = []
    with progress(f"{run.name}: evaluating", len(clips)) as show:
        for done, clip in enumerate(clips, 1):
            cached = stage.folder / "clips" / f"{clip['set']}-{clip['id']}.json"
            if not cached.exists():
                waveform, _ = soundfile.read(synthesis / clip["wav"], dtype="float32")
                at_16k = soxr.resample(waveform, SAMPLE_RATE, RECOGNISER_RATE)
                row = {name: clip[name] for name in ("set", "id", "text")}
                row |= {"mos": naturalness.score(at_16k)}
                if recogniser:
                    row["transcript"] = recogniser.transcribe(at_16k)
                    row |= error_rates.errors(clip["text"], row["transcript"])
                if clip["segment"] and config.system != "natural":
                    segment = store.segment(int(clip["segment"]))
                    natural = natural_waveform(segment)
                    row |= asdict(distance(natural, waveform, config.evaluation.f0))
                    if config.evaluation.pitch:
                        pitch = asdict(pitch_distance(natural, waveform))
                        row |= {k: v for k, v in pitch.items() if not np.isnan(v)}
                    if config.system == "model":
                        row |= _durations(segment, synthesis / clip["wav"])
                write_json(cached, row)
            rows.append(read_json(cached))
            show(done)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(stage.folder / "utterances.csv", columns, rows)
    write_json(stage.folder / "metrics.json", run_metrics(config, run, rows))
    stage.finish()


def _durations(segment, wav: Path) -> dict:
    predicted = np.load(wav.with_suffix(".durations.npy"))
    errors = duration_errors_ms(segment.durations, predicted)
    return {
        "duration_absolute_ms": float(np.abs(errors).sum()),
        "duration_squared_ms": float(np.square(errors).sum()),
        "phones": len(errors),
    }


def _measures(config: Settings) -> list[Measure]:
    return [*MEASURES, *(PITCH_MEASURES if config.evaluation.pitch else [])]


def definitions(config: Settings) -> dict[str, str]:
    """What each measure means under these settings."""
    texts = {measure.name: measure.definition for measure in _measures(config)}
    texts |= TRAINING_DEFINITIONS
    if not config.evaluation.recogniser:
        texts |= {name: NOT_RECOGNISED for name in texts if name.startswith(("wer_", "cer_"))}
    settings = {
        "recogniser": config.evaluation.name,
        "beam": getattr(config.evaluation.recogniser, "beam", None),
        "silence": config.evaluation.silence,
        "method": config.evaluation.f0.method,
        "threads": config.inference.threads,
    }
    return {name: text.format(**settings) for name, text in texts.items()}


def run_metrics(config: Settings, run: Path, rows: list[dict]) -> dict:
    """The contents of metrics.json; a measure that the run cannot have is null."""
    training = None
    if config.system == "model":
        voice = config.voice
        training = read_json(f"{voice}/voice.json")["training"] if voice else None
        training = training or read_json(run / "train" / "record.json")
    return {
        "name": run.name,
        "system": config.system,
        "clips": {name: sum(row["set"] == name for row in rows) for name in ("heldout", "other")},
        "measures": {measure.name: measure.value(rows) for measure in _measures(config)},
        "definitions": definitions(config),
        "recogniser": config.evaluation.name if config.evaluation.recogniser else None,
        "synthesis": read_json(run / "synthesis" / "record.json"),
        "training": training,
    }
