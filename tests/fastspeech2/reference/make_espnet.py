"""Writes espnet.npz: what ESPnet itself computes for the cases of espnet_cases.py.

These are outputs of its FastSpeech2, its features of a waveform, and its batches.

It needs ESPnet, which pins old packages, in an environment of its own with this project's torch and
numpy; the rest of ESPnet's requirements is not imported:

    pip install --no-deps espnet==202511
    pip install typeguard==4.6.1 torch==2.11.0 numpy scipy librosa \\
        humanfriendly torch_complex pyworld-prebuilt
    python tests/fastspeech2/reference/make_espnet.py

Nothing of ESPnet is copied: the file holds settings, names and shapes of tensors, and outputs.
"""

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from espnet2.samplers.num_elements_batch_sampler import NumElementsBatchSampler
from espnet2.tts.fastspeech2 import FastSpeech2
from espnet2.tts.feats_extract.dio import Dio
from espnet2.tts.feats_extract.energy import Energy
from espnet2.tts.feats_extract.log_mel_fbank import LogMelFbank

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from espnet_cases import (  # noqa: E402
    BATCHES,
    BINS,
    CASES,
    DURATIONS,
    MELS,
    SMALL,
    SYMBOLS,
    corpus_sizes,
    random_batch,
    random_state,
    waveform,
)


def outputs(model: FastSpeech2, lengths: list[int]) -> dict[str, torch.Tensor]:
    """Teacher-forced outputs of a batch, to which the end of sentence is appended."""
    batch = random_batch(lengths)
    phones = torch.nn.functional.pad(batch["text"], (0, 1))
    for row, length in enumerate(lengths):
        phones[row, length] = model.eos
    frames = batch["durations"].sum(1)
    found = model._forward(
        phones,
        batch["lengths"] + 1,
        olens=frames,
        ds=batch["durations"],
        ps=batch["pitch"][:, :, None],
        es=batch["energy"][:, :, None],
    )
    names = ("mel", "mel_postnet", "log_duration", "pitch", "energy")
    return dict(zip(names, found, strict=True))


def features() -> dict[str, np.ndarray]:
    """Mel, and pitch and energy of phones, of a waveform."""
    speech = torch.from_numpy(waveform())[None]
    frames = torch.tensor([sum(DURATIONS)])
    given = {"feats_lengths": frames, "durations": torch.tensor([DURATIONS])}
    given["durations_lengths"] = torch.tensor([len(DURATIONS)])
    lengths = torch.tensor([speech.shape[1]])
    mel, _ = LogMelFbank(fs=22050)(speech, lengths)
    pitch, _ = Dio(fs=22050, reduction_factor=1)(speech, lengths, **given)
    energy, _ = Energy(fs=22050, reduction_factor=1)(speech, lengths, **given)
    found = {"mel": mel[0].T, "pitch": pitch[0, :, 0], "energy": energy[0, :, 0]}
    return {f"features/{name}": value.numpy() for name, value in found.items()}


def batches() -> list[list[int]]:
    """The minibatches of a corpus of `corpus_sizes`, with a vocabulary of `SYMBOLS`."""
    phones, samples = corpus_sizes()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("text_shape", "speech_shape")]
        texts = [f"{i} {count},{len(SYMBOLS)}" for i, count in enumerate(phones)]
        files[0].write_text("\n".join(texts) + "\n")
        files[1].write_text("".join(f"{i} {count}\n" for i, count in enumerate(samples)))
        sampler = NumElementsBatchSampler(BINS, [str(each) for each in files])
        return [[int(key) for key in keys] for keys in sampler]


def main() -> None:
    torch.set_num_threads(1)
    arrays, index = {}, {"espnet": version("espnet"), "torch": torch.__version__, "shapes": {}}
    for case, settings in CASES.items():
        conf = SMALL | {name: value for name, value in settings.items() if name != "duration_bias"}
        model = FastSpeech2(len(SYMBOLS), MELS, **conf).eval()
        shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
        model.load_state_dict(random_state(shapes, case))
        index["shapes"][case] = shapes
        with torch.no_grad():
            for name, lengths in BATCHES.items():
                for key, value in outputs(model, lengths).items():
                    arrays[f"{case}/{name}/{key}"] = value.squeeze(-1).numpy()
            spoken = model.inference(random_batch([9])["text"][0])
        for key, value in spoken.items():
            arrays[f"{case}/inference/{key}"] = value.squeeze(-1).numpy()
    arrays |= features()
    index["batches"] = batches()
    np.savez_compressed(HERE / "espnet.npz", index=np.array(json.dumps(index)), **arrays)


if __name__ == "__main__":
    main()
