"""From written text to phones."""
