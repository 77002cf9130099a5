"""Stage 6: the measures of one run."""
