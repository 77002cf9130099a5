"""Export a trained run or a voice to ONNX: `make export RUN=...` or `make export VOICE=...`."""

from pipeline.configuration import hydra_main


def export(config) -> None:
    """Write `onnx/` in the folder of the run or voice, and compare it with torch."""
    from speech.export import export_voice
    from speech.voice import configured_voice

    voice = configured_voice(config)
    differences = export_voice(voice)
    largest = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{voice.folder}/onnx: largest difference from torch: {largest}")


if __name__ == "__main__":
    hydra_main(export)
