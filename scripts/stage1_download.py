"""Stage 1: fetch a corpus and write it in LJSpeech's layout."""

from evaluation.application import hydra_main
from pipeline.stages import CORPUS, runs


@runs(CORPUS)
def corpus_stage(config) -> None:
    from preprocessing.corpus.build import build_corpus

    build_corpus(config)


if __name__ == "__main__":
    hydra_main(corpus_stage)
