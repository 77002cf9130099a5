"""Stage 1: a corpus in LJSpeech's layout."""
