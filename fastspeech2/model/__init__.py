"""FastSpeech2's network."""
