"""From a corpus to the feature store: stages 1 to 3."""
