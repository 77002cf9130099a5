"""Stage 3: extract the features of a corpus in parallel, and pack them into a `FeatureStore`."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.wav import read_wav
from pipeline.digests import fingerprint
from pipeline.disk import bytes_in, disk_space
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, write_array, write_json
from pipeline.parallel import parallel_map
from pipeline.progress import progress
from pipeline.stages import FEATURES
from preprocessing.alignment.parsed import TextGrids
from preprocessing.check import check_corpus
from preprocessing.corpus.metadata import write_reasons
from preprocessing.corpus.splits import SPLITS, assign_splits
from preprocessing.faults import Fault, refuse, serious
from preprocessing.features.extract import extract
from preprocessing.features.store import FRAME_ARRAYS, PADDING_SYMBOL
from preprocessing.settings import FeatureSettings, PreprocessingSettings
from preprocessing.text.language import Language, corpus_language
from preprocessing.text.punctuation import END

UTTERANCES_IN_SHARD = 16
BYTES_PER_SECOND = 70_000
"""Bytes that a second of speech takes in shards and packed arrays together."""
_ARRAYS = (*FRAME_ARRAYS, "pitch", "energy")
"""The float arrays of a shard. Phones and durations are in its index."""


def build_features(config: PreprocessingSettings) -> None:
    """Write the store into `paths.features`, and `dropped.csv`, the utterances that are left out.

    Extraction writes shards of a few utterances each. They appear whole or not at all, and survive
    if the process is killed.

    Raises:
        RecipeError: the corpus has faults of kinds that `check.leave_out` does not name, the
            splits cannot be made, or the disk is full.
    """
    language = corpus_language(config.corpus.language)
    utterances, faults = check_corpus(config)
    leave_out = config.check.leave_out
    faults = serious(faults, leave_out)
    refuse(faults, leave_out)
    texts = {utterance.id: utterance.text for utterance in utterances}
    faulty = {fault.id for fault in faults}
    splits = assign_splits(texts, config.splits, faulty, language.tokens)
    wavs = Path(config.paths.corpus) / "wavs"
    folder = FEATURES.output(config)
    folder.begin()
    shards = _shards(folder.folder / "shards", list(texts), faulty)
    seconds = sum((wavs / f"{id}.wav").stat().st_size for ids in shards.values() for id in ids) / (
        2 * SAMPLE_RATE
    )
    needed = int(seconds * BYTES_PER_SECOND) - bytes_in(folder.folder)
    with disk_space(folder.folder, needed):
        _compute(shards, texts, config, language)
        faults += _dropped(list(shards))
        left_out = refuse(faults, leave_out)
        if (unusable := {fault.id for fault in faults}) != faulty:
            # Extraction found more faults. Drawn splits keep their sizes without these utterances.
            splits = assign_splits(texts, config.splits, unusable, language.tokens)
        index = _pack(list(shards), texts, splits, folder.folder)
        index |= {"splits_name": config.splits.name, "left_out": left_out, "wavs": str(wavs)}
        index |= {"mel": config.features.mel}
        write_json(folder.folder / "index.json", index)
    write_reasons(folder.folder / "dropped.csv", [(fault.id, fault.reason) for fault in faults])
    shutil.rmtree(folder.folder / "shards")
    folder.finish()
    lost = Counter(splits.get(id) for id in unusable)
    counts = [f"{lost[split]} of {split}" for split in SPLITS[1:] if lost[split]]
    why = f" ({', '.join([*counts, 'dropped.csv says why'])})" if left_out else ""
    print(
        f"stage 3: features of {len(set(index['utterances']))} utterances in {folder.folder}, "
        f"{left_out.total()} left out{why}"
    )


def _shards(folder: Path, ids: list[str], faulty: set[str]) -> dict[Path, list[str]]:
    """The files of features, and the utterances that each one holds.

    A file is named after its utterances, so that leaving out one more recomputes only its file.
    """
    shards = {}
    for first in range(0, len(ids), UTTERANCES_IN_SHARD):
        chunk = [id for id in ids[first : first + UTTERANCES_IN_SHARD] if id not in faulty]
        if chunk:
            shards[folder / f"{first:06d}-{fingerprint(chunk)}.npz"] = chunk
    return shards


def _compute(
    shards: Mapping[Path, list[str]],
    texts: Mapping[str, str],
    config: PreprocessingSettings,
    language: Language,
) -> None:
    """Extract the shards that are not there yet."""
    missing = [(shard, ids) for shard, ids in shards.items() if not shard.exists()]
    wavs = Path(config.paths.corpus).absolute() / "wavs"
    grids = TextGrids.load(Path(config.paths.alignments).absolute())
    tasks = [
        (
            path.absolute(),
            {id: texts[id] for id in ids},
            *(wavs, grids.part(ids), language.phones, config.features),
        )
        for path, ids in missing
    ]
    with progress("extracting features", len(shards)) as show:
        written = parallel_map(_write_shard, tasks, config.parallel)
        for done, _ in enumerate(written, 1 + len(shards) - len(missing)):
            show(done)


def _write_shard(
    path: Path,
    texts: dict[str, str],
    wavs: Path,
    grids: TextGrids,
    phones: frozenset[str],
    settings: FeatureSettings,
) -> None:
    """Write the features of some utterances to one file: arrays end to end, and a JSON index."""
    import torch

    torch.set_num_threads(1)
    index, arrays = {"segments": [], "dropped": []}, {name: [] for name in _ARRAYS}
    for id, text in texts.items():
        try:
            waveform = read_wav(wavs / f"{id}.wav")
            features = extract(waveform, grids.alignment(id, phones), settings, text)
        except RecipeError as error:
            index["dropped"].append((id, str(error)))
            continue
        for number, one in enumerate(features, 1):
            segment = {"utterance": id, "id": id if len(features) == 1 else f"{id}-{number}"}
            index["segments"].append(segment | asdict(one.segment))
            for name in _ARRAYS:
                arrays[name].append(getattr(one, name))
    empty = {name: np.zeros((0, MELS) if name == "mel" else 0, np.float32) for name in _ARRAYS}
    packed = {name: np.concatenate([empty[name], *rows]) for name, rows in arrays.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, index=np.array(json.dumps(index)), **packed)


def _dropped(shards: list[Path]) -> list[Fault]:
    """The utterances from which no features could be extracted."""
    indices = [json.loads(str(np.load(shard)["index"])) for shard in shards]
    return [Fault(id, "features", reason) for index in indices for id, reason in index["dropped"]]


def _pack(
    shards: list[Path], texts: Mapping[str, str], splits: Mapping[str, str], folder: Path
) -> dict:
    """Write the store's arrays, and return the part of its index that describes them."""
    indices = [json.loads(str(np.load(shard)["index"])) for shard in shards]
    segments = [segment for index in indices for segment in index["segments"]]
    frames = [sum(segment["durations"]) for segment in segments]
    for name in _ARRAYS:
        _join(folder / f"{name}.npy", shards, name)
    found = {phone for s in segments for phone in s["phones"]}
    # The model takes the last symbol for the end of a sentence.
    symbols = [PADDING_SYMBOL, *sorted(found - {END}), *sorted(found & {END})]
    number = {symbol: i for i, symbol in enumerate(symbols)}
    phones = [number[phone] for segment in segments for phone in segment["phones"]]
    write_array(folder / "phones.npy", np.array(phones, np.uint8))
    durations = [frame for segment in segments for frame in segment["durations"]]
    write_array(folder / "durations.npy", np.array(durations, np.uint16))
    rows = {
        split: [i for i, s in enumerate(segments) if splits[s["utterance"]] == split]
        for split in SPLITS
    }
    if empty := [split for split in SPLITS if not rows[split]]:
        raise RecipeError(f"no utterance is left in the splits {', '.join(empty)}")
    counts = [len(segment["phones"]) for segment in segments]
    return {
        "ids": [s["id"] for s in segments],
        "utterances": [s["utterance"] for s in segments],
        "texts": [_text(s, texts[s["utterance"]]) for s in segments],
        "start_samples": [s["start"] * HOP for s in segments],
        "frames": frames,
        "phone_counts": counts,
        "symbols": symbols,
        "splits": rows,
        "statistics": _statistics(folder, rows["train"], frames, counts),
    }


def _join(path: Path, shards: list[Path], name: str) -> None:
    """Join an array of all shards into one file, holding no more than one shard in memory."""
    sizes = [np.load(shard)[name].shape for shard in shards]
    shape = (sum(size[0] for size in sizes), *sizes[0][1:])
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for shard in shards:
            file.write(np.load(shard)[name].astype("<f4", copy=False).tobytes())


def _text(segment: dict, text: str) -> str:
    """The text of a segment: as it was written for a whole utterance, else its words."""
    return text if segment["id"] == segment["utterance"] else " ".join(segment["words"])


def _statistics(folder: Path, train: list[int], frames: list[int], counts: list[int]) -> dict:
    """Mean and standard deviation of mel, pitch and energy over the training split."""
    statistics = {}
    for name, sizes in (("mel", frames), ("pitch", counts), ("energy", counts)):
        values = np.load(folder / f"{name}.npy", mmap_mode="r")
        ends = np.cumsum(sizes)
        rows = [values[ends[i] - sizes[i] : ends[i]] for i in train]
        total = sum(len(row) for row in rows)
        mean = sum(row.sum(0, dtype=np.float64) for row in rows) / total
        variance = sum(np.square(row - mean).sum(0) for row in rows) / total
        statistics[name] = {"mean": mean.tolist(), "std": np.sqrt(variance).tolist()}
    return statistics
