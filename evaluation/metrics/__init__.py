"""Stage 6: what one run is worth."""
