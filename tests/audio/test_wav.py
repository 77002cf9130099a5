"""Recordings whose samples are floats in another scale than [-1, 1]."""

import numpy as np
import pytest
import soundfile

from audio.wav import check_wavs, read_wav
from pipeline.errors import FaultsError, UtteranceError


def write(folder, name: str, peak: float, subtype: str) -> None:
    waveform = peak * np.sin(np.arange(22050) / 20)
    soundfile.write(folder / "wavs" / f"{name}.wav", waveform, 22050, subtype=subtype)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("peak", [2.5, 127.0, 9830.0, 2.0**31])
def test_samples_far_beyond_full_scale_are_reported(tmp_path, subtype, peak):
    (tmp_path / "wavs").mkdir()
    write(tmp_path, "right", 1.2, subtype)  # as resampling may leave it
    write(tmp_path, "wrong", peak, subtype)
    assert len(read_wav(tmp_path / "wavs" / "right.wav")) == 22050
    with pytest.raises(UtteranceError, match="where full scale is 1") as fault:
        read_wav(tmp_path / "wavs" / "wrong.wav")
    assert fault.value.kind == "wav_scale"
    with pytest.raises(FaultsError) as faults:
        check_wavs(tmp_path, ["right", "wrong"])
    assert [name for name, _ in faults.value.faults] == [str(tmp_path / "wavs" / "wrong.wav")]
