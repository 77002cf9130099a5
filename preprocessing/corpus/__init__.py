"""Stage 1: from a published corpus to one in LJSpeech's layout."""
