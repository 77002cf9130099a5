"""Stage 3: features of a whole corpus, in parallel, packed into a `FeatureStore`."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from preprocessing.artefacts import StageFolder, atomic_path, write_json
from preprocessing.corpus import check_wavs, read_metadata, read_reasons, write_reasons
from preprocessing.disk import disk_space
from preprocessing.errors import FaultsError, RecipeError
from preprocessing.features import HOP, MELS, Settings, extract
from preprocessing.fingerprints import features_fingerprint
from preprocessing.progress import progress
from preprocessing.splits import SPLITS, assign_splits
from preprocessing.store import FRAME_ARRAYS, PADDING_SYMBOL

UTTERANCES_IN_SHARD = 16
BYTES_PER_SECOND = 70_000
"""of features, shards and packed arrays together"""


def build_features(config: DictConfig) -> None:
    """Write the store and `dropped.csv` into `paths.features`.

    Shards appear whole or not at all; after a kill, those that are there are not computed again.

    Raises:
        RecipeError: the splits cannot be made, or the disk is full.
        FaultsError: recordings are missing, empty, corrupt or of another format, or no utterance
            has features.
    """
    corpus, alignments = Path(config.paths.corpus), Path(config.paths.alignments)
    unaligned = {id for id, _ in read_reasons(alignments / "unaligned.csv")}
    utterances = [u for u in read_metadata(corpus / "metadata.csv") if u.id not in unaligned]
    check_wavs(corpus, utterances)
    texts = {utterance.id: utterance.text for utterance in utterances}
    splits = assign_splits(texts, config.corpus.splits)
    settings = Settings(
        **config.features.f0,
        shortest_pause=config.features.shortest_pause,
        max_seconds=config.features.max_seconds,
    )
    folder = StageFolder(config.paths.features, features_fingerprint(config))
    folder.begin()
    ids = list(texts)
    chunks = [ids[i : i + UTTERANCES_IN_SHARD] for i in range(0, len(ids), UTTERANCES_IN_SHARD)]
    shards = [folder.folder / "shards" / f"{i:05d}.npz" for i in range(len(chunks))]
    wanted = [(shard, chunk) for shard, chunk in zip(shards, chunks, strict=True)]
    seconds = sum((corpus / "wavs" / f"{id}.wav").stat().st_size for id in ids) / 44100
    with disk_space(folder.folder, int(seconds * BYTES_PER_SECOND)):
        _compute(
            wanted, corpus / "wavs", alignments / "TextGrid", settings, config.features.workers
        )
        dropped = _pack(shards, texts, splits, corpus / "wavs", folder.folder)
    write_reasons(folder.folder / "dropped.csv", dropped)
    shutil.rmtree(folder.folder / "shards")
    folder.finish()
    print(
        f"stage 3: features of {len(ids) - len(dropped)} utterances in {folder.folder}, "
        f"{len(dropped)} dropped" + (" (dropped.csv says why)" if dropped else "")
    )


def _compute(
    shards: list[tuple[Path, list[str]]], wavs: Path, grids: Path, settings: Settings, workers: int
) -> None:
    from joblib import Parallel, delayed

    missing = [(shard, ids) for shard, ids in shards if not shard.exists()]
    parallel = Parallel(n_jobs=workers, return_as="generator_unordered")
    tasks = (delayed(_write_shard)(path, ids, wavs, grids, settings) for path, ids in missing)
    with progress("extracting features", len(shards)) as show:
        for done, _ in enumerate(parallel(tasks), 1 + len(shards) - len(missing)):
            show(done)


def _write_shard(path: Path, ids: list[str], wavs: Path, grids: Path, settings: Settings) -> None:
    """Features of some utterances in one file: arrays end to end and a JSON index."""
    import torch

    torch.set_num_threads(1)
    index, arrays = {"segments": [], "dropped": []}, {name: [] for name in _ARRAYS}
    for id in ids:
        try:
            features = extract(wavs / f"{id}.wav", grids / f"{id}.TextGrid", settings)
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


_ARRAYS = (*FRAME_ARRAYS, "pitch", "energy")


def _pack(
    shards: list[Path], texts: dict[str, str], splits: dict[str, str], wavs: Path, folder: Path
) -> list[tuple[str, str]]:
    """Write the store's arrays and index; utterances that were dropped, and why."""
    indices = [json.loads(str(np.load(shard)["index"])) for shard in shards]
    dropped = [(id, reason) for index in indices for id, reason in index["dropped"]]
    segments = [segment for index in indices for segment in index["segments"]]
    if not segments:
        raise FaultsError("extracting features", dropped, "No utterance is left to train on.")
    frames = [sum(segment["durations"]) for segment in segments]
    for name in _ARRAYS:
        _join(folder / f"{name}.npy", shards, name)
    symbols = [PADDING_SYMBOL, *sorted({phone for s in segments for phone in s["phones"]})]
    number = {symbol: i for i, symbol in enumerate(symbols)}
    phones = [number[phone] for segment in segments for phone in segment["phones"]]
    _save(folder / "phones.npy", phones, np.uint8)
    durations = [frame for segment in segments for frame in segment["durations"]]
    _save(folder / "durations.npy", durations, np.uint16)
    rows = {
        split: [i for i, s in enumerate(segments) if splits[s["utterance"]] == split]
        for split in SPLITS
    }
    counts = [len(segment["phones"]) for segment in segments]
    write_json(
        folder / "index.json",
        {
            "ids": [s["id"] for s in segments],
            "utterances": [s["utterance"] for s in segments],
            "texts": [_text(s, texts[s["utterance"]]) for s in segments],
            "start_samples": [s["start"] * HOP for s in segments],
            "frames": frames,
            "phone_counts": counts,
            "symbols": symbols,
            "splits": rows,
            "statistics": _statistics(folder, rows["train"], frames, counts),
            "wavs": str(wavs),
        },
    )
    return dropped


def _join(path: Path, shards: list[Path], name: str) -> None:
    """One array of all shards, end to end, without ever holding more than one shard in memory."""
    sizes = [np.load(shard)[name].shape for shard in shards]
    shape = (sum(size[0] for size in sizes), *sizes[0][1:])
    with atomic_path(path) as temporary:
        joined = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        row = 0
        for shard, size in zip(shards, sizes, strict=True):
            joined[row : row + size[0]] = np.load(shard)[name]
            row += size[0]
        joined.flush()


def _save(path: Path, values: list[int], kind: type) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, np.array(values, dtype=kind))


def _text(segment: dict, text: str) -> str:
    """A whole utterance's text as it was written; of a part, the words in it."""
    return text if segment["id"] == segment["utterance"] else " ".join(segment["words"])


def _statistics(folder: Path, train: list[int], frames: list[int], counts: list[int]) -> dict:
    """Mean and standard deviation over the training split."""
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
