"""Batches of a feature store: padded tensors, and the stream of batches of a training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fastspeech2.packing import Plan, map_tensors
from fastspeech2.training.batching import frame_budget_batches
from fastspeech2.training.processes import Processes
from pipeline.errors import RecipeError
from preprocessing.features.store import FeatureStore


@dataclass
class Batch:
    """Padded utterances; pitch and energy are normalised by the training split's statistics."""

    ids: list[str]
    phones: Tensor
    """indices, `[batch, phones]`, 0 in the padding"""
    phone_lengths: Tensor
    """`[batch]`"""
    durations: Tensor
    """frames, `[batch, phones]`"""
    pitch: Tensor
    """`[batch, phones]`"""
    energy: Tensor
    """`[batch, phones]`"""
    mel: Tensor
    """log-mel, `[batch, frames, mels]`, normalised if the model's targets are"""
    plan: Plan | None = None
    """layout of the batch, if it was planned"""

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """Move all tensors; Lightning calls this."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """Pin all tensors; the data loader calls this for a GPU."""
        return map_tensors(self, Tensor.pin_memory)


class UtteranceBatches(Dataset):
    """A split of a feature store; a list of indices gives a padded batch.

    The values of phones are held in memory. Mels are read from the memory-mapped store on demand,
    so that processes on one machine share the page cache.

    Args:
        store: the features.
        split: "train", "validation" or "test".
        plan: plans a batch's layout from its phone lengths and durations; see `FastSpeech2.plan`.
        normalised_mel: mels have mean 0 and standard deviation 1 in each band of the training
            split.

    Attributes:
        ids: of the utterances.
        frames, phone_counts: of the utterances, `[utterances]`.
        pitch, energy: normalised, of all utterances' phones end to end, `[all phones]`.
    """

    def __init__(
        self,
        store: FeatureStore,
        split: str,
        plan: Callable[[Tensor, Tensor], Plan] | None = None,
        normalised_mel: bool = False,
    ):
        self.utterances = store.split(split)
        if len(self.utterances) == 0:
            raise RecipeError(f"the feature store has no utterance in its split '{split}'")
        self._plan = plan
        self.ids = [store.ids[i] for i in self.utterances]
        self.frames = store.frames[self.utterances]
        self._frame_starts = torch.from_numpy(store.frame_offsets[self.utterances])
        self._mel = torch.from_numpy(store.mel)
        self._phone_starts, self._phones = self._pack(store, store.phones)
        self._durations = self._packed_phones(store, store.durations)
        self.pitch = self._packed_phones(store, store.pitch, "pitch")
        self.energy = self._packed_phones(store, store.energy, "energy")
        self.phone_counts = store.phone_counts[self.utterances]
        self._phone_counts = torch.from_numpy(self.phone_counts.astype(np.int64))
        mean, std = (np.float32(store.statistics["mel"][key]) for key in ("mean", "std"))
        self._normalise_mel = (
            (lambda mel: (mel - torch.from_numpy(mean)) / torch.from_numpy(std))
            if normalised_mel
            else None
        )
        self._frames = torch.from_numpy(self.frames.astype(np.int64))

    def _pack(self, store: FeatureStore, values) -> tuple[Tensor, Tensor]:
        """Concatenate this split's values of phones; also return where each utterance starts."""
        offsets, sizes = store.phone_offsets, store.phone_counts
        rows = [values[offsets[i] : offsets[i] + sizes[i]] for i in self.utterances]
        starts = np.cumsum([0] + [len(row) for row in rows[:-1]])
        packed = np.concatenate(rows)
        if np.issubdtype(packed.dtype, np.integer):
            packed = packed.astype(np.int64)
        return torch.from_numpy(starts), torch.from_numpy(packed)

    def _packed_phones(self, store: FeatureStore, values, statistic: str | None = None) -> Tensor:
        packed = self._pack(store, values)[1]
        if statistic is None:
            return packed
        mean, std = (store.statistics[statistic][key] for key in ("mean", "std"))
        return ((packed - mean) / std).float()

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, chosen: list[int]) -> Batch:
        chosen = torch.as_tensor(chosen)
        phone_lengths, frame_lengths = self._phone_counts[chosen], self._frames[chosen]

        def padded(values: Tensor, starts: Tensor, lengths: Tensor, change=None) -> Tensor:
            offset = torch.arange(int(lengths.max()))
            inside = offset < lengths[:, None]
            index = (starts[chosen, None] + offset).clamp(max=len(values) - 1)
            rows = values[index] if change is None else change(values[index])
            return rows * (inside if rows.dim() == 2 else inside[:, :, None])

        def phone_values(values: Tensor) -> Tensor:
            return padded(values, self._phone_starts, phone_lengths)

        durations = phone_values(self._durations)
        return Batch(
            ids=[self.ids[i] for i in chosen],
            phones=phone_values(self._phones),
            phone_lengths=phone_lengths,
            durations=durations,
            pitch=phone_values(self.pitch),
            energy=phone_values(self.energy),
            mel=padded(self._mel, self._frame_starts, frame_lengths, self._normalise_mel),
            plan=self._plan(phone_lengths, durations) if self._plan else None,
        )


class BatchStream(Sampler[list[int]]):
    """An endless stream of batches, of which any stretch can be drawn.

    A resumed training continues the stream as if it had not been interrupted: each pass over the
    data is shuffled by a generator seeded with (seed, number of the pass).

    Args:
        frames: of the utterances.
        budget: frames of a batch.
        seed: of the shuffling.
        start, stop: first and last (exclusive) batch of this process.
        processes: with which this process takes turns.
        grouping: groups the utterances into the batches of a pass, shuffled by a generator; by
            default `frame_budget_batches` does.
    """

    def __init__(
        self,
        frames: np.ndarray,
        budget: int,
        seed: int,
        start: int,
        stop: int,
        processes: Processes = Processes(),  # noqa: B008 (frozen)
        grouping: Callable[[np.random.Generator], list[list[int]]] | None = None,
    ):
        self.grouping = grouping or partial(frame_budget_batches, frames, budget)
        self.seed, self.start, self.stop, self.processes = seed, start, stop, processes

    def __len__(self) -> int:
        # Lightning counts the batches of a resumed epoch from the beginning of the epoch.
        return self.stop

    def __iter__(self) -> Iterator[list[int]]:
        passes = (self.grouping(np.random.default_rng([self.seed, n])) for n in count())
        batches = (batch for each in passes for batch in each)
        size = self.processes.size
        first = self.start * size + self.processes.rank
        return islice(batches, first, self.stop * size, size)


def batch_loader(
    batches: UtteranceBatches,
    sampler: Sampler | list[list[int]],
    pinned: bool = False,
    workers: int = 0,
) -> DataLoader:
    """Load padded batches, by default without worker processes, which cost more than they save.

    The loader gets a generator, because it would draw a seed from the global one, on which the
    dropout of the training depends.

    Args:
        batches: a split of the feature store.
        sampler: gives the utterances of each batch.
        pinned: copy batches into pinned memory, from which a GPU can fetch them while it computes.
        workers: processes that make batches ahead of time.
    """
    ahead = {"num_workers": workers, "persistent_workers": True, "prefetch_factor": 4}
    return DataLoader(
        batches,
        batch_size=None,
        sampler=sampler,
        generator=torch.Generator(),
        pin_memory=pinned,
        **(ahead if workers else {}),
    )
