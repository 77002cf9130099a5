"""Stage 2: align the recordings with their texts."""

from pipeline.entry_point import stage_script


@stage_script
def main(config) -> None:
    from pipeline.stage_folder import StageFolder
    from pipeline.stages import alignment_fingerprint, corpus_fingerprint

    if StageFolder(config.paths.alignments, alignment_fingerprint(config)).is_complete():
        print(f"stage 2: {config.paths.alignments} is up to date")
        return
    StageFolder(config.paths.corpus, corpus_fingerprint(config)).require("make stage1")

    from preprocessing.alignment.align import align

    align(config)


if __name__ == "__main__":
    main()
