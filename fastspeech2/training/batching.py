"""Which utterances go together into a batch."""

import numpy as np


def frame_budget_batches(
    frames: np.ndarray, budget: int, generator: np.random.Generator | None = None
) -> list[list[int]]:
    """Group utterances of similar length so that each padded batch holds at most `budget` frames.

    Args:
        frames: of each utterance.
        budget: frames of a batch including padding; a longer utterance is a batch by itself.
        generator: shuffles utterances of similar length, and the batches; without it utterances are
            sorted by length.
    """
    key = frames.astype(np.float64)
    if generator is not None:
        # A little noise on the lengths changes the batches in each pass at hardly any padding.
        key = key * generator.uniform(0.95, 1.05, len(frames))
    batches: list[list[int]] = []
    longest = 0
    for i in np.argsort(key, kind="stable"):
        longest = max(longest, int(frames[i]))
        if batches and longest * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(int(i))
        else:
            batches.append([int(i)])
            longest = int(frames[i])
    if generator is not None:
        generator.shuffle(batches)
    return batches


def espnet_batches(
    phones: np.ndarray,
    samples: np.ndarray,
    vocabulary: int,
    bins: int,
    generator: np.random.Generator | None = None,
) -> list[list[int]]:
    """The minibatches of ESPnet's `batch_type: numel` (espnet2/samplers/).

    Utterances are sorted by their phones. A batch is full once its number of utterances, times the
    samples and the phones times the vocabulary of the last of them, is above `bins`. The batches
    are the same in each pass; only their order changes.

    Args:
        phones: of each utterance, without the end of sentence.
        samples: of each utterance.
        vocabulary: number of symbols.
        bins: ESPnet's `batch_bins`.
        generator: shuffles the batches.
    """
    batches: list[list[int]] = []
    full = True
    for i in np.argsort(phones, kind="stable"):
        if full:
            batches.append([])
        batches[-1].append(int(i))
        full = len(batches[-1]) * (int(samples[i]) + int(phones[i]) * vocabulary) > bins
    batches = [batch[::-1] for batch in batches]
    if generator is not None:
        generator.shuffle(batches)
    return batches
