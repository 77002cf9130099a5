"""How well a vocoder reproduces recordings: the mean absolute difference of log-mels."""

import statistics
from collections.abc import Sequence
from typing import Any

from torch.nn.functional import l1_loss

from audio.mel import log_mel
from hifigan.finetuning.segments import VocoderClip
from hifigan.generator import Generator
from hifigan.vocoder import vocode


def mel_errors(generator: Generator, clips: Sequence[VocoderClip]) -> list[float]:
    """Vocode each clip, and measure its mel error against the recording."""
    errors = []
    for clip in clips:
        vocoded = vocode(generator, [clip.mel()])[0]
        errors.append(float(l1_loss(log_mel(vocoded), log_mel(clip.waveform()))))
    return errors


def compare_generators(
    before: Generator, after: Generator, clips: Sequence[VocoderClip]
) -> dict[str, Any]:
    """Print the mean mel errors of two generators; return them with the errors of all clips."""
    errors = {"before": mel_errors(before, clips), "after": mel_errors(after, clips)}
    means = {name: statistics.fmean(values) for name, values in errors.items()}
    lower = sum(a < b for b, a in zip(*errors.values(), strict=True))
    print(
        f"mel L1 on {len(clips)} held-out clips: {means['before']:.4f} before, "
        f"{means['after']:.4f} after, lower on {lower}"
    )
    ids = [clip.id for clip in clips]
    return {
        "mel_l1": means,
        "clips": {name: dict(zip(ids, values, strict=True)) for name, values in errors.items()},
    }
