"""From a list of mel spectrograms of any lengths to a list of waveforms."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from audio.constants import HOP, MELS, SAMPLE_RATE
from audio.mel import HIGHEST_FREQUENCY, WINDOW
from hifigan.checkpoint import load_generator, verify
from hifigan.generator import Generator
from pipeline.errors import RecipeError
from pipeline.hardware import fast_bfloat16
from pipeline.settings import check_choice
from pipeline.vocoder_files import locate

# What a vocoder's config.json must say, since mel spectrograms of another kind sound wrong.
FEATURES = {
    "sampling_rate": SAMPLE_RATE,
    "n_fft": WINDOW,
    "win_size": WINDOW,
    "hop_size": HOP,
    "num_mels": MELS,
    "fmin": 0,
    "fmax": HIGHEST_FREQUENCY,
}

FEWER_LENGTHS = 64
"""Of what the frames of clips are made a multiple by padding, where other lengths cost more."""

THREADS_HELP = 0.9
"""How much of a second thread is gained where threads share one clip, measured on two cores."""

Vocoder = Callable[[Sequence[Tensor]], list[Tensor]]


def vocode(generator: Generator, mels: Sequence[Tensor], frames_per_batch: int = 0) -> list[Tensor]:
    """Waveforms of clips of any lengths; each sounds as if it were alone.

    Args:
        generator: from `load_generator`.
        mels: log-mel spectrograms `[frames, mels]`.
        frames_per_batch: the most frames, padding included, of a batch; 0 means that each clip is
            one, which is fastest on a CPU. There batches go side by side, on a thread each, where
            that ends sooner than one after the other on all threads.

    Returns:
        Waveforms `[samples]` in the order of `mels`.
    """
    for index, mel in enumerate(mels):
        if mel.ndim != 2 or mel.shape[1] != generator.mels or not len(mel):
            raise RecipeError(
                f"mel spectrogram {index} has shape {list(mel.shape)}; the vocoder takes "
                f"[frames, {generator.mels}] with one frame or more"
            )
    first = next(generator.parameters())
    waveforms: list[Tensor] = [torch.empty(0)] * len(mels)
    # oneDNN compiles its bfloat16 convolutions anew for each length, which takes a second.
    multiple = FEWER_LENGTHS if first.dtype == torch.bfloat16 and not first.is_cuda else 1

    def run(batch: list[int]) -> None:
        padded = pad_sequence([mels[index].to(first) for index in batch], True)
        padded = pad(padded, (0, 0, 0, -padded.shape[1] % multiple))
        frames = torch.tensor([len(mels[index]) for index in batch])
        unequal = bool((frames != padded.shape[1]).any())
        with torch.inference_mode():
            audio = generator(padded.transpose(1, 2), frames if unequal else None)
        samples_per_frame = audio.shape[2] // padded.shape[1]
        for row, index in enumerate(batch):
            waveforms[index] = audio[row, 0, : len(mels[index]) * samples_per_frame].cpu().float()

    batches = _batches([len(mel) for mel in mels], frames_per_batch)
    threads = 1 if first.is_cuda else torch.get_num_threads()
    work = [len(mels[batch[0]]) * len(batch) for batch in batches]
    if threads > 1 and _longest_share(work, threads) * threads * THREADS_HELP < sum(work):
        _side_by_side(run, batches, threads)
    else:
        for batch in batches:
            run(batch)
    return waveforms


def _batches(lengths: Sequence[int], frames_per_batch: int) -> list[list[int]]:
    """Indices in batches of similar lengths, the longest first so that memory runs out at once."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= frames_per_batch
        if fits:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _longest_share(work: Sequence[int], threads: int) -> int:
    """What the busiest thread has to do where each takes the next batch when it is done."""
    shares = [0] * threads
    for each in work:
        shares[shares.index(min(shares))] += each
    return max(shares)


def _side_by_side(
    run: Callable[[list[int]], None], batches: Sequence[list[int]], threads: int
) -> None:
    """Batches on threads of their own, each of which does not share its arithmetic."""
    try:
        # PyTorch's number of threads is that of the calling thread, and of those begun later.
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
            list(pool.map(run, batches))
    finally:
        torch.set_num_threads(threads)


def griffin_lim(mels: Sequence[Tensor], iterations: int) -> list[Tensor]:
    """Waveforms `[samples]` by phase reconstruction (librosa), without a neural network."""
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
        # The recipe's frames are centred half a hop later than librosa's.
        audio = torch.nn.functional.pad(torch.from_numpy(audio), (HOP // 2, HOP // 2))
        waveforms.append(audio[: len(mel) * HOP].clamp(-1, 1))
    return waveforms


def checked_generator(config: Mapping[str, Any]) -> Generator:
    """HiFi-GAN by `conf/vocoder/*.yaml`, in float32 on the CPU.

    Raises:
        RecipeError: its files are missing, damaged, or made for another kind of mel spectrogram.
    """
    if config["sha256"]:
        verify(locate(config["checkpoint"]), config["sha256"])
    generator = load_generator(config["checkpoint"], config["config"])
    for key, expected in FEATURES.items():
        found = generator.config.get(key, expected)
        if found != expected:
            raise RecipeError(
                f"the vocoder {config['checkpoint']} is for mel spectrograms with {key}={found}, "
                f"but this recipe's have {key}={expected}"
            )
    return generator


def vocoding_precision(config: Mapping[str, Any], device: str = "cpu") -> str:
    """`bf16` or `32`: what `config.precision` asks for, or `auto` chooses on this device.

    Raises:
        RecipeError: the setting is none of these.
    """
    asked = str(config.get("precision", "32"))  # Griffin-Lim has no choice
    check_choice("vocoder.precision", asked, ("auto", "bf16", "32"))
    if asked == "auto":
        return "bf16" if fast_bfloat16(device) else "32"
    return asked


def load_vocoder(config: Mapping[str, Any], device: str = "cpu") -> Vocoder:
    """The vocoder that `conf/vocoder/*.yaml` describes: from mels `[frames, mels]` to waveforms.

    Raises:
        RecipeError: as `checked_generator`, or a setting is none of those there are.
    """
    check_choice("vocoder.kind", config["kind"], ("hifigan", "griffin_lim"))
    if config["kind"] == "griffin_lim":
        return lambda mels: griffin_lim(mels, config["iterations"])
    dtype = {"bf16": torch.bfloat16, "32": torch.float32}[vocoding_precision(config, device)]
    generator = checked_generator(config).to(device, dtype)
    return lambda mels: vocode(generator, mels, config["frames_per_batch"])
