"""The rates and sizes of HiFi-GAN's mel spectrograms that all stages share, without torch."""

SAMPLE_RATE = 22050
"""Hz; HiFi-GAN's official vocoders know no other."""
HOP = 256
"""samples from one frame to the next"""
MELS = 80
