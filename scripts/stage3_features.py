"""Stage 3: extract mel, F0 and energy into the packed feature store."""

from pipeline.entry_point import stage_script


@stage_script
def main(config) -> None:
    from pipeline.stage_folder import StageFolder
    from pipeline.stages import alignment_fingerprint, features_fingerprint

    if StageFolder(config.paths.features, features_fingerprint(config)).is_complete():
        print(f"stage 3: {config.paths.features} is up to date")
        return
    StageFolder(config.paths.alignments, alignment_fingerprint(config)).require("make stage2")

    from preprocessing.features.build import build_features

    build_features(config)


if __name__ == "__main__":
    main()
