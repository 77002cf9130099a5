"""Stage 1: fetch a corpus and write it in LJSpeech's layout."""

from pipeline.entry_point import stage_script


@stage_script
def main(config) -> None:
    from pipeline.stage_folder import StageFolder
    from pipeline.stages import corpus_fingerprint

    if StageFolder(config.paths.corpus, corpus_fingerprint(config)).is_complete():
        print(f"stage 1: {config.paths.corpus} is up to date")
        return

    from preprocessing.corpus.build import build_corpus

    build_corpus(config)


if __name__ == "__main__":
    main()
