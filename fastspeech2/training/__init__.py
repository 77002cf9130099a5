"""Stage 4: training with SNIPER."""
