"""Stage 6: all measures of one run, each sentence's beside them."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from omegaconf import DictConfig

from audio.constants import SAMPLE_RATE
from evaluation.metrics.distances import distance, duration_errors_ms
from evaluation.metrics.naturalness import NaturalnessPredictor
from evaluation.metrics.recognition import RECOGNISER_RATE, ErrorRates, Recogniser, rate
from pipeline.files import read_csv, read_json, write_csv, write_json
from pipeline.hardware import device_of
from pipeline.progress import progress
from pipeline.stage_folder import StageFolder
from pipeline.stages import evaluation_fingerprint
from preprocessing.features.store import FeatureStore, natural_waveform
from speech.settings import check_settings

DEFINITIONS = {
    "wer_heldout": "Word error rate of the recogniser ({recogniser}, beam {beam}, {silence} s of "
    "silence before and after each clip) on held-out prompts: errors over words, summed over "
    "sentences, of texts normalised by Whisper's rules for English and without punctuation; "
    "re-record is rerecord; a sentence's errors are capped at its number of words.",
    "cer_heldout": "Character error rate on held-out prompts, summed and capped likewise.",
    "wer_other": "Word error rate on sentences of other domains.",
    "cer_other": "Character error rate on sentences of other domains.",
    "mos_heldout": "Predicted mean opinion score (DistillMOS, 1 to 5), mean over held-out prompts.",
    "mos_other": "Predicted mean opinion score on sentences of other domains.",
    "mcd": "Mel-cepstral distortion in dB, mean over held-out prompts: SPTK mel-cepstra of order "
    "34, alpha 0.45, c0 included, fastdtw (ESPnet's definition).",
    "log_f0_rmse": "Root mean square error of the natural log of F0 (WORLD's {method}) over "
    "frames voiced in both, along the same DTW path.",
    "vuv_error": "Share of frames on that path that are voiced in one and not in the other.",
    "duration_mae_ms": "Mean absolute error of phone durations against the alignment, ms.",
    "duration_rmse_ms": "Root mean square error of the same.",
    "real_time_factors": "Seconds of computing over seconds of speech, on the threads that the "
    "run was given ({threads}), of the acoustic model and of the vocoder.",
    "train_seconds": "Training by the clock on the wall, validation included; other runs beside "
    "it on the machine lengthen it.",
    "final_sparsity": "Share of prunable weights that are masked at the end, counted.",
}


def evaluate_run(config: DictConfig, run: Path) -> None:
    """Write `<run>/evaluation/metrics.json` and utterances.csv; clips measured before are kept."""
    check_settings(config)
    torch.set_num_threads(config.trainer.threads)
    synthesis = run / "synthesis"
    clips = read_csv(synthesis / "manifest.csv")
    store = FeatureStore(config.paths.features)
    device = device_of(config.trainer.accelerator)
    recogniser = Recogniser(config.evaluation, config.trainer.threads, device)
    naturalness, error_rates = NaturalnessPredictor(), ErrorRates()
    stage = StageFolder(run / "evaluation", evaluation_fingerprint(config))
    stage.begin()

    rows = []
    with progress(f"{run.name}: evaluating", len(clips)) as show:
        for done, clip in enumerate(clips, 1):
            cached = stage.folder / "clips" / f"{clip['set']}-{clip['id']}.json"
            if not cached.exists():
                waveform, _ = soundfile.read(synthesis / clip["wav"], dtype="float32")
                at_16k = soxr.resample(waveform, SAMPLE_RATE, RECOGNISER_RATE)
                transcript = recogniser.transcribe(at_16k)
                row = {name: clip[name] for name in ("set", "id", "text")}
                row |= {"transcript": transcript, "mos": naturalness.score(at_16k)}
                row |= error_rates.errors(clip["text"], transcript)
                if clip["segment"] and config.system != "natural":
                    segment = store.segment(int(clip["segment"]))
                    natural = natural_waveform(segment)
                    row |= asdict(distance(natural, waveform, config.evaluation.f0))
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


def run_metrics(config: DictConfig, run: Path, rows: list[dict]) -> dict:
    """Measures over all clips; one that a run cannot have is null."""
    sets = {name: [row for row in rows if row["set"] == name] for name in ("heldout", "other")}
    compared = [row for row in rows if "mcd" in row]
    timed = [row for row in rows if "phones" in row]
    measures = {
        **{f"wer_{name}": rate(each, "word_errors", "words") for name, each in sets.items()},
        **{
            f"cer_{name}": rate(each, "character_errors", "characters")
            for name, each in sets.items()
        },
        **{
            f"mos_{name}": float(np.mean([row["mos"] for row in each])) if each else None
            for name, each in sets.items()
        },
        "mcd": float(np.mean([row["mcd"] for row in compared])) if compared else None,
        "log_f0_rmse": rate(compared, "f0_squared_error", "f0_frames"),
        "vuv_error": rate(compared, "voicing_errors", "frames"),
        "duration_mae_ms": rate(timed, "duration_absolute_ms", "phones"),
        "duration_rmse_ms": rate(timed, "duration_squared_ms", "phones"),
    }
    for name in ("log_f0_rmse", "duration_rmse_ms"):
        if measures[name] is not None:
            measures[name] **= 0.5
    return {
        "name": run.name,
        "system": config.system,
        "clips": {name: len(each) for name, each in sets.items()},
        "measures": measures,
        "definitions": {
            name: text.format(
                recogniser=config.evaluation.name,
                beam=config.evaluation.recogniser.beam,
                silence=config.evaluation.silence,
                method=config.evaluation.f0.method,
                threads=config.trainer.threads,
            )
            for name, text in DEFINITIONS.items()
        },
        "recogniser": config.evaluation.name,
        "synthesis": read_json(run / "synthesis" / "record.json"),
        "training": read_json(run / "train" / "record.json") if config.system == "model" else None,
    }
