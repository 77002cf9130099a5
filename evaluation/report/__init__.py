"""Stage 7: tables, figures and a page over runs."""
