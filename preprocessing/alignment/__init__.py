"""Stage 2: which phone is spoken when."""
