"""One utterance's acoustic features: mel, WORLD's F0, energy, and means over phones."""

from dataclasses import dataclass, replace

import numpy as np

from audio.constants import HOP, SAMPLE_RATE
from audio.f0 import continuous_log_f0, estimate_f0
from pipeline.errors import RecipeError
from preprocessing.alignment.edges import with_punctuation
from preprocessing.alignment.segments import AlignedSegment, cut_segments
from preprocessing.alignment.textgrid import Alignment, without_short_pauses
from preprocessing.settings import FeatureSettings
from preprocessing.text.punctuation import END

SHORTEST_FRAMES = 4
"""A shorter segment cannot be reflected at its ends, which HiFi-GAN's mel needs."""


@dataclass(frozen=True)
class SegmentFeatures:
    """The features of one segment, whose durations add up to its frames."""

    segment: AlignedSegment
    mel: np.ndarray
    """log-mel, float32 `[frames, mels]`"""
    f0: np.ndarray
    """Hz, 0 where unvoiced, float32 `[frames]`"""
    energy_frames: np.ndarray
    """L2 norm of the magnitude spectrum, float32 `[frames]`"""
    pitch: np.ndarray
    """mean over each phone of log F0 interpolated over unvoiced frames, float32 `[phones]`"""
    energy: np.ndarray
    """mean over each phone, float32 `[phones]`"""


def phone_means(values: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Average values over the frames of each phone.

    Args:
        values: `[frames]`.
        durations: frames of each phone, `[phones]`.

    Returns:
        Means, float32 `[phones]`. A phone of no frames gets the value of the frame where it would
        begin.
    """
    ends = np.cumsum(durations)
    starts = ends - durations
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    means = (sums[ends] - sums[starts]) / np.maximum(durations, 1)
    first = values[np.minimum(starts, len(values) - 1)]
    return np.where(durations > 0, means, first).astype(np.float32)


def _with_end(features: SegmentFeatures) -> SegmentFeatures:
    """Append ESPnet's end of sentence, of no frames, and set such phones' values to zero."""
    segment = features.segment
    phones, durations = [*segment.phones, END], [*segment.durations, 0]
    spoken = np.array(durations) > 0
    return replace(
        features,
        segment=replace(segment, phones=phones, durations=durations),
        pitch=np.append(features.pitch, np.float32(0)) * spoken,
        energy=np.append(features.energy, np.float32(0)) * spoken,
    )


def extract(
    waveform: np.ndarray, alignment: Alignment, settings: FeatureSettings, text: str = ""
) -> list[SegmentFeatures]:
    """Features of an utterance's segments.

    Args:
        waveform: the recording, float32 `[samples]` at 22,050 Hz.
        alignment: of the recording.
        settings: of the whole corpus.
        text: of the utterance, for punctuation.

    Raises:
        RecipeError: the recording or its alignment is not usable.
    """
    import torch

    from audio import espnet_mel, mel

    espnets = settings.mel == "espnet"
    spectrum, mel_of = (
        (espnet_mel.centred_magnitude, espnet_mel.espnet_mel_of_magnitude)
        if espnets
        else (mel.magnitude, mel.mel_of_magnitude)
    )
    alignment = without_short_pauses(alignment, settings.shortest_pause)
    if settings.espnet:
        alignment = with_punctuation(alignment, text, len(waveform) / SAMPLE_RATE)
    segments = cut_segments(alignment, len(waveform) // HOP, settings.max_seconds)
    f0 = estimate_f0(waveform, settings.f0, 0 if espnets else HOP // 2)
    if not f0.any():
        raise RecipeError("has no voiced frame, so that its pitch is unknown")
    log_f0 = continuous_log_f0(f0, in_hertz=settings.espnet)
    features = []
    for segment in segments:
        durations = np.array(segment.durations)
        frames = slice(segment.start, segment.start + int(durations.sum()))
        if frames.stop - frames.start < SHORTEST_FRAMES:
            raise RecipeError(f"has a segment of {frames.stop - frames.start} frames")
        samples = torch.from_numpy(waveform[frames.start * HOP : frames.stop * HOP])
        magnitudes = spectrum(samples)
        energy = torch.linalg.vector_norm(magnitudes, dim=0).numpy()
        log_mel = mel_of(magnitudes).T.contiguous().numpy()
        assert len(log_mel) == durations.sum(), f"{len(log_mel)} frames, not {durations.sum()}"
        features.append(
            SegmentFeatures(
                segment=segment,
                mel=log_mel,
                f0=f0[frames],
                energy_frames=energy,
                pitch=phone_means(log_f0[frames], durations),
                energy=phone_means(energy, durations),
            )
        )
    return [_with_end(each) for each in features] if settings.espnet else features
