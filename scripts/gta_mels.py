"""Write the ground-truth-aligned mels of a run for `make finetune`: `make gta-mels RUN=...`."""

from pathlib import Path

from pipeline.configuration import hydra_main


def gta_mels(config) -> None:
    """Write `paths.gta_mels`."""
    from fastspeech2.synthesis.gta_mels import write_gta_mels

    paths = config.paths
    write_gta_mels(Path(paths.run), Path(paths.features), Path(paths.gta_mels))


if __name__ == "__main__":
    hydra_main(gta_mels)
