"""Stage 5: synthesises the test sentences with one system and writes them as wavs.

A system is a trained run or one of the references that runs are compared with: the natural
recordings, and the recordings' mels through the vocoder.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from audio.constants import SAMPLE_RATE
from audio.espnet_mel import to_hifigan
from audio.wav import write_wav
from fastspeech2.synthesis.synthesiser import Synthesiser
from hifigan import load_vocoder, vocoding_precision
from pipeline.errors import RecipeError
from pipeline.files import write_array, write_csv, write_json
from pipeline.hardware import device_of, processor_name
from pipeline.progress import progress
from pipeline.stages import SYNTHESIS, other_sentences
from preprocessing.features.store import FeatureStore, natural_waveform
from preprocessing.text.pronouncer import Pronouncer
from speech.settings import SpeechSettings
from speech.voice import configured_voice

MANIFEST = ["set", "id", "text", "wav", "seconds", "segment"]
"""Columns of manifest.csv."""

CLIPS_PER_CALL = 32
"""Clips that are computed together. They fill a GPU, and a killed run loses no more than these."""


@dataclass
class Clip:
    """One sentence to be spoken."""

    set: str
    """`heldout` for the corpus's test split, `other` for sentences of other domains"""
    id: str
    text: str
    segment: int | None = None
    """index in the feature store, if the sentence was recorded"""
    phones: Tensor | np.ndarray | None = None
    """indices into the model's vocabulary, `[phones]`"""


def heldout_clips(store: FeatureStore) -> list[Clip]:
    """The clips of the test split, with the phones of their alignments."""
    clips = []
    for i in store.split("test"):
        segment = store.segment(i)
        clips.append(Clip("heldout", segment.id, segment.text, int(i), segment.phones))
    return clips


def other_clips(text: str, pronouncer: Pronouncer, synthesiser: Synthesiser) -> list[Clip]:
    """Clips of sentences of other domains, given one per line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    clips = []
    for number, line in enumerate(lines, 1):
        phones = synthesiser.indices(pronouncer.phones(line))
        clips.append(Clip("other", f"sentence-{number:02d}", line, phones=phones))
    return clips


class System:
    """Computes the waveforms of clips and times its parts.

    Args:
        config: the configuration of stage 5; `config.system` is `model`, `natural` or `vocoded`.
        store: holds the recordings and their features.

    Attributes:
        clips: the held-out clips and, for `model`, those of other domains.
        seconds: time spent in `acoustic` and `vocoder`.

    Raises:
        RecipeError: a model is missing, or it has other phones than the store.
    """

    def __init__(self, config: SpeechSettings, store: FeatureStore):
        device = device_of(config.inference.accelerator)
        most, voice = config.evaluation.clips_per_set, configured_voice(config)
        self.store, self.clips = store, heldout_clips(store)[:most]
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.vocoder = self.synthesiser = None
        if config.system != "natural":
            self.vocoder = load_vocoder(voice.vocoder, device)
        if config.system == "model":
            self.synthesiser = voice.synthesiser(device)
            if list(self.synthesiser.index) != store.symbols:
                raise RecipeError(
                    f"{voice.folder} was trained on other phones than {store.folder} has: train "
                    "it again"
                )
            pronouncer = voice.pronouncer(self.synthesiser)
            sentences = other_sentences(config.evaluation.sentences)
            self.clips += other_clips(sentences, pronouncer, self.synthesiser)[:most]

    def speak(self, clips: list[Clip]) -> list[tuple[np.ndarray, list[int]]]:
        """Compute the waveform `[samples]` and the frames of each phone for some clips."""
        if self.synthesiser:
            with self._timed("acoustic"):
                spoken = self.synthesiser.synthesise([clip.phones for clip in clips])
            mels = [each.mel for each in spoken]
        else:
            spoken = [self.store.segment(clip.segment) for clip in clips]
            mels = [to_hifigan(torch.tensor(each.mel), each.mel_kind) for each in spoken]
        if self.vocoder:
            with self._timed("vocoder"):
                waveforms = [waveform.numpy() for waveform in self.vocoder(mels)]
        else:
            waveforms = [natural_waveform(segment) for segment in spoken]
        return list(zip(waveforms, (each.durations.tolist() for each in spoken), strict=True))

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - started


def synthesise_run(config: SpeechSettings) -> None:
    """Write the run's `synthesis/<set>/<id>.wav`, manifest.csv and record.json.

    Clips that an interrupted run has written are kept.

    Raises:
        RecipeError: the model, the vocoder or the sentences are missing.
    """
    torch.set_num_threads(config.inference.threads)
    store = FeatureStore(config.paths.features)
    system = System(config, store)
    clips, vocoder = system.clips, configured_voice(config).vocoder
    stage, run = SYNTHESIS.output(config), Path(config.paths.run)
    stage.begin()
    wavs = [stage.folder / clip.set / f"{clip.id}.wav" for clip in clips]
    computed_seconds = 0.0
    with progress(f"{run.name}: synthesising", len(clips)) as show:
        for start in range(0, len(clips), CLIPS_PER_CALL):
            together = slice(start, start + CLIPS_PER_CALL)
            # Compute all clips of a call or none. A batch then has the same clips after a kill,
            # and so the same bits.
            if not all(wav.exists() for wav in wavs[together]):
                spoken = system.speak(clips[together])
                for wav, (waveform, durations) in zip(wavs[together], spoken, strict=True):
                    write_array(wav.with_suffix(".durations.npy"), durations)
                    write_wav(wav, waveform)
                    computed_seconds += len(waveform) / SAMPLE_RATE
            show(min(together.stop, len(clips)))
    rows = []
    for clip, wav in zip(clips, wavs, strict=True):
        seconds = round(soundfile.info(wav).duration, 4)
        row = asdict(clip) | {"wav": f"{clip.set}/{clip.id}.wav", "seconds": seconds}
        rows.append({column: row[column] for column in MANIFEST})
    write_csv(stage.folder / "manifest.csv", MANIFEST, rows)
    device = device_of(config.inference.accelerator)
    precision = None if config.system == "natural" else vocoding_precision(vocoder, device)
    write_json(
        stage.folder / "record.json",
        {
            "vocoder": vocoder.name,
            "precision": precision,
            "processor": processor_name(device),
            "threads": config.inference.threads,
            "audio_seconds": sum(row["seconds"] for row in rows),
            # Over the clips that this process computed; a run that was killed wrote the others.
            "real_time_factors": {
                part: total / computed_seconds for part, total in system.seconds.items()
            },
        },
    )
    stage.finish()
