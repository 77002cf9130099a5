"""Fine-tuning: its batches, its result, and how it resumes, also beside a hostile checkpoint."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import Hostile, composed, kill_when
from torch.nn.functional import l1_loss
from vocoder_cases import tiny_vocoder

from audio.mel import log_mel
from hifigan.finetuning import train
from hifigan.finetuning.discriminators import Discriminators
from hifigan.finetuning.segments import SegmentBatches, VocoderClip, gta_clips
from pipeline.errors import RecipeError
from pipeline.lightning_setup import latest_checkpoint


def ramp(frames: int) -> VocoderClip:
    """A clip in which each frame and its samples hold the number of the frame."""
    numbers = torch.arange(float(frames))
    return VocoderClip(
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


@pytest.mark.parametrize(
    "batch, samples, message",
    [
        (2, 2000, "finetuning.segment=2000: give a multiple of 256 of 1024 or more"),
        (2, 512, "finetuning.segment=512: give a multiple of 256 of 1024 or more"),
        (6, 2048, "finetuning.batch=6: the training split has only 5 clips"),
    ],
)
def test_segments_that_cannot_be_cut_are_refused(batch, samples, message):
    with pytest.raises(RecipeError, match=message):
        SegmentBatches([ramp(n) for n in (3, 9, 20, 40, 50)], batch, samples, seed=0)


def settings(*overrides: str) -> list[str]:
    short = ["updates=12", "val_every=4", "batch=2", "segment=2048", "validation_clips=1"]
    short += ["learning_rate=2e-3"]
    return [*(f"finetuning.{setting}" for setting in short), *overrides]


class SmallDiscriminators(Discriminators):
    """One of the eight discriminators, so that a test takes seconds."""

    def __init__(self):
        super().__init__()
        self.mpd.discriminators = self.mpd.discriminators[:1]
        self.msd.discriminators = self.msd.discriminators[:0]


@pytest.fixture
def gta_folder(tmp_path, monkeypatch) -> Path:
    """A folder of GTA mels of noise, in the format of `make gta-mels`."""
    monkeypatch.setattr(train, "Discriminators", SmallDiscriminators)
    folder, numbers = tmp_path / "gta", np.random.default_rng(0)
    for part in ("mels", "wavs"):
        (folder / part).mkdir(parents=True)
    for split, clips in (("train", 5), ("validation", 1), ("test", 2)):
        names = [f"{split}{i}" for i in range(clips)]
        for name in names:
            noise = 0.1 * numbers.standard_normal(12 * 256)
            soundfile.write(folder / "wavs" / f"{name}.wav", noise, 22050, subtype="PCM_16")
            mel = numbers.standard_normal((80, 12)).astype(np.float32) - 4
            np.save(folder / "mels" / f"{name}.npy", mel)
        (folder / f"{split}.txt").write_text("".join(f"{name}|\n" for name in names))
    return folder


def test_a_resumed_finetuning_ignores_a_hostile_checkpoint_and_ends_bit_equal(
    gta_folder, tmp_path, monkeypatch, capsys
):
    vocoder = [*tiny_vocoder(tmp_path / "tiny"), f"finetuning.mels={gta_folder}"]
    vocoder += ["finetuning.updates=4", "finetuning.val_every=1", "finetuning.threads=1"]
    weights = []
    for name in ("whole", "stopped"):
        folder = tmp_path / name
        config = composed(*settings(*vocoder, f"paths.finetuned={folder}"))
        if name == "stopped":
            stop_after(monkeypatch, 2)
            with pytest.raises(Stopped):
                train.finetune(config)
            monkeypatch.undo()
            monkeypatch.setattr(train, "Discriminators", SmallDiscriminators)
            assert latest_checkpoint(folder / "checkpoints")[1] == 2
            # Somebody else's file in the folder would be the newest checkpoint.
            torch.save(Hostile(tmp_path / "executed"), folder / "checkpoints" / "00000003.ckpt")
            with pytest.warns(UserWarning, match="00000003.ckpt cannot be read .*the one before"):
                train.finetune(config)
            assert "resuming an unfinished fine-tuning" in capsys.readouterr().out
            assert not (tmp_path / "executed").exists()
        else:
            train.finetune(config)
        assert [row["update"] for row in rows(folder)] == ["1", "2", "3", "4"]
        weights.append(torch.load(folder / "generator_finetuned", weights_only=True)["generator"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


class Stopped(Exception):
    """Stands for a kill."""


def stop_after(monkeypatch, updates: int) -> None:
    """Interrupt the training before the update that follows so many."""
    step = train.FineTuningModule.training_step

    def interrupted(self, batch, number):
        if number == updates:
            raise Stopped
        return step(self, batch, number)

    monkeypatch.setattr(train.FineTuningModule, "training_step", interrupted)


def test_a_loss_that_is_not_finite_stops(gta_folder, tmp_path):
    np.save(gta_folder / "mels" / "train0.npy", np.full((80, 12), np.nan, np.float32))
    config = composed(
        *settings(
            *tiny_vocoder(tmp_path / "tiny"),
            f"finetuning.mels={gta_folder}",
            f"paths.finetuned={tmp_path / 'out'}",
        )
    )
    with pytest.raises(RecipeError, match=r"not finite \(adversarial nan, .*learning_rate"):
        train.finetune(config)


def test_clips_that_cannot_be_used_are_named(gta_folder, tmp_path):
    (gta_folder / "wavs" / "train1.wav").unlink()
    np.save(gta_folder / "mels" / "train2.npy", np.zeros((80, 13), np.float32))
    with pytest.raises(RecipeError, match="2 of 5 clips .*train1.wav is missing; .*train2.npy has"):
        gta_clips(gta_folder, "train")
    np.save(gta_folder / "mels" / "validation0.npy", np.array([Hostile(tmp_path / "executed")]))
    with pytest.raises(RecipeError, match="validation0.npy .* cannot be read"):
        gta_clips(gta_folder, "validation")
    assert not (tmp_path / "executed").exists()
    (gta_folder / "test.txt").write_text("")
    with pytest.raises(RecipeError, match="test.txt lists no clips"):
        gta_clips(gta_folder, "test")
    (gta_folder / "test.txt").unlink()
    with pytest.raises(RecipeError, match="test.txt does not exist: run `make gta-mels`"):
        gta_clips(gta_folder, "test")


def command(prepared: list[str], folder: Path, *overrides: str) -> list[str]:
    script = [sys.executable, "scripts/finetune_vocoder.py", *prepared]
    return [*script, *settings(f"paths.finetuned={folder / 'vocoder'}", *overrides)]


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
    assert "resuming an unfinished fine-tuning" in resumed.stdout
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
            # If the wav fills a segment, the published training draws a start up to frames - 33.
            assert mel.shape[1] > 32 or info.frames < 8192
    clips = gta_clips(folder, "validation")
    errors = [float(l1_loss(log_mel(clip.waveform()).T, clip.mel())) for clip in clips]
    shifted = [float(l1_loss(log_mel(clip.waveform()).T, clip.mel().roll(10, 0))) for clip in clips]
    assert np.mean(errors) < np.mean(shifted)

    vocoder = tiny_vocoder(tmp_path / "tiny")
    tuned = run(*command(prepared, tmp_path, *vocoder, f"finetuning.mels={folder}"))
    assert tuned.returncode == 0, tuned.stderr
