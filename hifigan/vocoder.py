"""Vocoders: functions from mel spectrograms of any lengths to waveforms."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.mel import HIGHEST_FREQUENCY, WINDOW
from hifigan.checkpoint import load_generator, verify
from hifigan.generator import Generator
from hifigan.settings import HifiganSettings
from hifigan.settings import Vocoder as VocoderConfig
from pipeline.errors import RecipeError
from pipeline.hardware import fast_bfloat16
from pipeline.settings import section_of
from pipeline.vocoder_files import locate

MEL_SETTINGS = {
    "sampling_rate": SAMPLE_RATE,
    "n_fft": WINDOW,
    "win_size": WINDOW,
    "hop_size": HOP,
    "num_mels": MELS,
    "fmin": 0,
    "fmax": HIGHEST_FREQUENCY,
}
"""The mel settings that a vocoder's config.json must have: mels of another kind sound wrong."""

BFLOAT16_FRAMES = 64
"""Pad clips to a multiple of this many frames for bfloat16 convolutions on a CPU."""

THREAD_EFFICIENCY = 0.9
"""Speed-up by threads that share one clip, divided by their number: measured with two threads."""

Vocoder = Callable[[Sequence[Tensor]], list[Tensor]]
"""A function from mels, `[frames, mels]` each, to waveforms, `[samples]` each."""


def vocode(generator: Generator, mels: Sequence[Tensor], frames_per_batch: int = 0) -> list[Tensor]:
    """Turn clips of any lengths into waveforms; batching does not change how a clip sounds.

    On a CPU, several batches run at the same time with one thread each, if that is expected to
    finish sooner than one batch after another with all threads.

    Args:
        generator: from `load_generator`.
        mels: log-mel spectrograms, `[frames, mels]` each.
        frames_per_batch: the most frames in a batch, padding included. With 0, each clip is a
            batch of its own, which is fastest on a CPU.

    Returns:
        Waveforms, `[samples]` each, in the order of `mels`.

    Raises:
        RecipeError: a mel spectrogram has the wrong shape.
    """
    for index, mel in enumerate(mels):
        if mel.ndim != 2 or mel.shape[1] != generator.mels or not len(mel):
            raise RecipeError(
                f"mel spectrogram {index} has shape {list(mel.shape)}; the vocoder takes "
                f"[frames, {generator.mels}] with one frame or more"
            )
    weight = next(generator.parameters())
    waveforms: list[Tensor] = [torch.empty(0)] * len(mels)
    # oneDNN compiles its bfloat16 convolutions for each new length, which takes a second: padding
    # leaves it with fewer lengths.
    multiple = BFLOAT16_FRAMES if weight.dtype == torch.bfloat16 and not weight.is_cuda else 1

    def run(batch: list[int]) -> None:
        padded = pad_sequence([mels[index].to(weight) for index in batch], True)
        padded = pad(padded, (0, 0, 0, -padded.shape[1] % multiple))
        frames = torch.tensor([len(mels[index]) for index in batch])
        unequal = bool((frames != padded.shape[1]).any())
        with torch.inference_mode():
            audio = generator(padded.transpose(1, 2), frames if unequal else None)
        samples_per_frame = audio.shape[2] // padded.shape[1]
        for row, index in enumerate(batch):
            waveforms[index] = audio[row, 0, : len(mels[index]) * samples_per_frame].cpu().float()

    batches = _batches([len(mel) for mel in mels], frames_per_batch)
    threads = 1 if weight.is_cuda else torch.get_num_threads()
    work = [len(mels[batch[0]]) * len(batch) for batch in batches]
    if threads > 1 and _longest_thread(work, threads) * threads * THREAD_EFFICIENCY < sum(work):
        _run_in_parallel(run, batches, threads)
    else:
        for batch in batches:
            run(batch)
    return waveforms


def _batches(lengths: Sequence[int], frames_per_batch: int) -> list[list[int]]:
    """Group the indices of clips of similar length.

    The longest come first, so that running out of memory happens at once.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= frames_per_batch
        if fits:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _longest_thread(work: Sequence[int], threads: int) -> int:
    """Return the work of the busiest thread, if each thread takes the next batch when it is idle.

    Args:
        work: the frames of each batch.
    """
    loads = [0] * threads
    for frames in work:
        loads[loads.index(min(loads))] += frames
    return max(loads)


def _run_in_parallel(
    run: Callable[[list[int]], None], batches: Sequence[list[int]], threads: int
) -> None:
    """Run batches on parallel threads, each of which uses one thread for its arithmetic."""
    try:
        # `set_num_threads` holds for the thread that calls it and for threads started later.
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            list(pool.map(run, batches))
    finally:
        torch.set_num_threads(threads)


def griffin_lim(mels: Sequence[Tensor], iterations: int) -> list[Tensor]:
    """Turn mels `[frames, mels]` into waveforms `[samples]` by librosa's Griffin-Lim algorithm."""
    import librosa

    waveforms = []
    for mel in mels:
        magnitudes = librosa.feature.inverse.mel_to_stft(
            mel.exp().numpy().T,
            sr=SAMPLE_RATE,
            n_fft=WINDOW,
            power=1.0,
            fmin=0,
            fmax=HIGHEST_FREQUENCY,
        )
        audio = librosa.griffinlim(
            magnitudes, n_iter=iterations, hop_length=HOP, n_fft=WINDOW, random_state=0
        )
        # Our frames are centred half a hop later than librosa's.
        audio = torch.nn.functional.pad(torch.from_numpy(audio), (HOP // 2, HOP // 2))
        waveforms.append(audio[: len(mel) * HOP].clamp(-1, 1))
    return waveforms


def checked_generator(config: HifiganSettings) -> Generator:
    """Load the HiFi-GAN that a `conf/vocoder/*.yaml` describes, in float32 on the CPU.

    Raises:
        RecipeError: its files are missing or damaged, or it expects another kind of mels.
    """
    if config.sha256:
        verify(locate(config.checkpoint), config.sha256)
    generator = load_generator(config.checkpoint, config.config)
    for key, expected in MEL_SETTINGS.items():
        found = generator.config.get(key, expected)
        if found != expected:
            raise RecipeError(
                f"the vocoder {config.checkpoint} is for mel spectrograms with {key}={found}, "
                f"but this recipe's mels have {key}={expected}"
            )
    return generator


def vocoding_precision(config: VocoderConfig, device: str = "cpu") -> str:
    """Return `bf16` or `32`: `config.precision`, or for `auto` the faster one on this device."""
    if config.kind == "griffin_lim":
        return "32"
    if config.precision == "auto":
        return "bf16" if fast_bfloat16(device) else "32"
    return str(config.precision)


def load_vocoder(config: VocoderConfig | Mapping, device: str = "cpu") -> Vocoder:
    """Load the vocoder that a `conf/vocoder/*.yaml` describes.

    Raises:
        RecipeError: a setting is wrong; and as for `checked_generator`.
    """
    config = section_of(VocoderConfig, config)
    if config.kind == "griffin_lim":
        return lambda mels: griffin_lim(mels, config.iterations)
    dtype = {"bf16": torch.bfloat16, "32": torch.float32}[vocoding_precision(config, device)]
    generator = checked_generator(config).to(device, dtype)
    return lambda mels: vocode(generator, mels, config.frames_per_batch)
