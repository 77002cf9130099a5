"""From text to a waveform, with torch or, after an export, with ONNX Runtime."""


def __getattr__(name: str):
    """Import `load_voice` when it is asked for, since torch takes seconds to load."""
    if name != "load_voice":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from speech.voice import load_voice

    return load_voice
