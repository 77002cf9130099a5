"""Rates and sizes of HiFi-GAN's mel spectrograms, which all stages share, without torch."""

SAMPLE_RATE = 22050
"""Hz. HiFi-GAN's official vocoders were trained at this rate only."""
HOP = 256
"""samples from one frame to the next"""
FRAME_RATE = SAMPLE_RATE / HOP
"""frames in a second"""
MELS = 80
"""bands of a mel spectrogram"""
MEL_KINDS = ("hifigan", "espnet")
"""Names of the setting `features.mel`; see audio/mel.py and audio/espnet_mel.py."""
