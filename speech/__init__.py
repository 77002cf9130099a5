"""From text to a waveform, with torch or, after an export, with ONNX Runtime."""
