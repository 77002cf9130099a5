"""Stage 3: mel, F0 and energy in a packed store."""
