"""The generator against the paper's architecture, and real weights on speech-like sounds."""

import json
import threading

import pytest
import torch
from vocoder_cases import UNIVERSAL, V3, VERSIONS, official_state, reference, settings

from audio.mel import log_mel
from hifigan import Generator, load_generator, load_vocoder, vocode
from pipeline.errors import RecipeError
from pipeline.vocoder_files import locate

PARAMETERS = {"V1": 13.93e6, "V2": 0.93e6, "V3": 1.46e6}  # table 1 of the paper


@pytest.fixture(params=VERSIONS)
def official(request, tmp_path):
    config = VERSIONS[request.param]
    state = official_state(config)
    torch.save({"generator": state}, tmp_path / "g_00000001")
    (tmp_path / "config.json").write_text(json.dumps(config))
    return request.param, config, state, tmp_path / "g_00000001", tmp_path / "config.json"


def test_official_checkpoints_give_the_papers_arithmetic(official):
    version, config, state, checkpoint, config_path = official
    generator = load_generator(checkpoint, config_path)
    assert not generator.training
    parameters = sum(p.numel() for p in generator.parameters())
    assert parameters == pytest.approx(PARAMETERS[version], rel=0.006)
    x = torch.randn(2, 80, 21, generator=torch.Generator().manual_seed(1))
    expected = reference(config, state, x)
    # The waveform is neither silent nor saturated.
    assert expected.abs().mean() > 0.05 and (expected.abs() < 0.99).float().mean() > 0.5
    with torch.no_grad():
        torch.testing.assert_close(generator(x), expected, atol=5e-5, rtol=0)


def test_batching_does_not_change_a_clip(official):
    _, _, _, checkpoint, config_path = official
    generator = load_generator(checkpoint, config_path)
    numbers = torch.Generator().manual_seed(2)
    mels = [torch.randn(n, 80, generator=numbers) for n in (1, 16, 7, 16, 11)]
    alone = [generator(mel.T[None])[0, 0] for mel in mels]
    together = vocode(generator, mels, frames_per_batch=80)  # all five fit into one batch
    unmasked = generator(torch.nn.utils.rnn.pad_sequence(mels, batch_first=True).transpose(1, 2))
    for mel, one, batched in zip(mels, alone, together, strict=True):
        assert batched.shape == (256 * len(mel),)
        torch.testing.assert_close(batched, one, atol=5e-5, rtol=0)
    # The test can fail: without masks, the padding changes the end of a clip.
    assert (unmasked[4, 0, : 256 * 11] - alone[4]).abs().max() > 1e-3


def test_parallel_clips_sound_as_alone_and_the_number_of_threads_is_restored():
    generator = Generator(V3).eval().requires_grad_(False)
    numbers = torch.Generator().manual_seed(3)
    mels = [torch.randn(n, 80, generator=numbers) for n in (5, 16, 7, 16, 11)]
    alone = [vocode(generator, [mel])[0] for mel in mels]
    before, used = torch.get_num_threads(), set()
    hook = lambda *_: used.add((threading.get_ident(), torch.get_num_threads()))  # noqa: E731
    generator.register_forward_pre_hook(hook)
    try:
        torch.set_num_threads(2)
        together = vocode(generator, mels)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert {threads for _, threads in used} == {1}
    assert threading.get_ident() not in {thread for thread, _ in used}
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=0)


def test_real_weights_copy_a_voice():
    """A vowel-like sum of harmonics keeps its mel and its pitch."""
    generator = load_generator(*UNIVERSAL)
    time = torch.arange(22050) / 22050
    harmonics = torch.arange(1, 20)[:, None]
    waveform = (0.3 / harmonics * torch.sin(2 * torch.pi * 200 * harmonics * time)).sum(0)
    mel = log_mel(waveform)
    (copy,) = vocode(generator, [mel.T])
    assert copy.shape == (mel.shape[1] * 256,) and copy.abs().max() < 1
    loud = mel > -4
    assert (log_mel(copy) - mel)[loud].abs().mean() < 0.5
    spectrum = torch.fft.rfft(copy[4096:12288] * torch.hann_window(8192)).abs()
    assert spectrum[50:110].argmax() + 50 == pytest.approx(200 * 8192 / 22050, abs=1.5)


def test_griffin_lim_keeps_pitch_and_length():
    waveform = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(11025) / 22050)
    mel = log_mel(waveform)
    (copy,) = load_vocoder({"name": "g", "kind": "griffin_lim", "iterations": 20})([mel.T])
    assert copy.shape == (mel.shape[1] * 256,)
    spectrum = torch.fft.rfft(copy[2000:10192]).abs()
    assert spectrum.argmax() == pytest.approx(440 * 8192 / 22050, abs=6)


def test_bfloat16_sounds_like_float32():
    """Rounding changes a mel far less than the vocoder itself does."""
    samples = 64 * 256  # clips of this length are not padded for bfloat16
    time = torch.arange(samples) / 22050
    tone = 0.3 * torch.sin(2 * torch.pi * (200 * time + 60 * time**2))
    mel = log_mel(tone + 0.01 * torch.randn(samples, generator=torch.Generator().manual_seed(3)))
    full, rounded = (load_vocoder(settings(precision=p))([mel.T])[0] for p in ("32", "bf16"))
    assert rounded.dtype == torch.float32 and not torch.equal(full, rounded)
    assert (full - rounded).square().sum() < 0.02 * full.square().sum()
    change = (log_mel(full) - mel).abs().mean()
    assert (log_mel(rounded) - log_mel(full)).abs().mean() < 0.4 * change


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"precision": "16"}, "^precision=16: choose one of auto, bf16, 32"),
        ({"kind": "hifi_gan"}, "^kind=hifi_gan: choose one of hifigan, griffin_lim"),
    ],
)
def test_an_unknown_setting_is_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        load_vocoder(settings(**changes))


def test_a_vocoder_for_other_mels_is_refused(tmp_path):
    config = json.loads(locate(UNIVERSAL[1]).read_text()) | {"sampling_rate": 16000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RecipeError, match="is for mel spectrograms with sampling_rate=16000"):
        load_vocoder(settings(config=str(tmp_path / "config.json")))


def test_mels_of_another_shape_are_refused():
    generator = Generator(V3).eval()
    with pytest.raises(RecipeError, match=r"mel spectrogram 1 has shape \[80, 12\]"):
        vocode(generator, [torch.zeros(12, 80), torch.zeros(80, 12)])
