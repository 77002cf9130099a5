"""Export a run's ground-truth-aligned mels for `make finetune`: `make aligned-mels RUN=...`."""

from pathlib import Path

from pipeline.entry_point import stage_script


def aligned_mels(config) -> None:
    """Write `config.paths.aligned_mels`."""
    from fastspeech2.synthesis.gta_mels import export_aligned_mels

    paths = config.paths
    export_aligned_mels(Path(paths.run), Path(paths.features), Path(paths.aligned_mels))


main = stage_script(aligned_mels)

if __name__ == "__main__":
    main()
