"""The operations that FastSpeech2's layers are made of, in plain PyTorch and in faster ways."""
