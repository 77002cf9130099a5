"""Export a trained run to ONNX: `make export RUN=...`."""

from pipeline.entry_point import stage_script


def export(config) -> None:
    """Write `<run>/onnx/`, checked against torch."""
    from speech.export import export_run

    differences = export_run(config.paths.run, config.vocoder)
    largest = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{config.paths.run}/onnx: largest difference from torch: {largest}")


main = stage_script(export)

if __name__ == "__main__":
    main()
