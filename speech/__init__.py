"""From text to a waveform, by torch or, exported, by ONNX Runtime."""
