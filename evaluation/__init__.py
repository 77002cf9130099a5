"""What a run is worth: synthesised speech, its measures, and tables and a report over runs."""
