"""From phones to mels with a trained model."""
