"""ESPnet's log-mel converted to HiFi-GAN's."""

import torch
from conftest import composed

from audio.espnet_mel import centred_magnitude, espnet_mel_of_magnitude, hifigan_bands, to_hifigan
from audio.mel import mel_of_magnitude
from preprocessing.features.store import FeatureStore, natural_waveform


def test_bands_are_interpolated_and_repeated_at_the_ends():
    """A log-mel that rises evenly over the mel scale still does, but at the ends."""
    matrix = hifigan_bands()
    assert torch.allclose(matrix.sum(1), torch.ones(80))
    slope = (matrix @ torch.arange(80.0)).diff()
    assert slope[:2].abs().max() < 0.5 * slope[3:77].mean() or slope[0] == 0
    assert slope[3:77].max() - slope[3:77].min() < 1e-3
    assert (matrix @ torch.arange(80.0))[[0, 79]].tolist() == [0.0, 79.0]


def test_the_conversion_is_as_close_to_hifigans_mel_as_it_says(prepared):
    """On recordings, of the same frames. It is 0.09 to two digits; see `LOSS`."""
    store = FeatureStore(composed(*prepared).paths.features)
    errors = []
    for i in store.split("test"):
        waveform = torch.from_numpy(natural_waveform(store.segment(i)))
        spectrum = centred_magnitude(waveform)
        converted = to_hifigan(espnet_mel_of_magnitude(spectrum).T, "espnet")
        errors.append((converted - mel_of_magnitude(spectrum).T).abs().mean(0))
    error = torch.stack(errors).mean(0)
    assert 0.05 < error[2:79].mean() < 0.095
    assert error[[0, 1, 79]].min() > error[2:79].mean()


def test_hifigans_mel_is_left_as_it_is():
    mel = torch.randn(3, 80)
    assert to_hifigan(mel, "hifigan") is mel
