"""Export a trained run to ONNX: `make export RUN=...`."""

from pipeline.configuration import hydra_main


def export(config) -> None:
    """Write `<run>/onnx/`, checked against torch."""
    from speech.export import export_run

    differences = export_run(config.paths.run, config.vocoder)
    largest = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{config.paths.run}/onnx: largest difference from torch: {largest}")


if __name__ == "__main__":
    hydra_main(export)
