"""Stage 2: align a corpus with its texts, by one of three aligners."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from audio.wav import check_wavs, read_wav
from pipeline.disk import bytes_in, disk_space
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import atomic_path
from pipeline.stages import ALIGNMENTS
from preprocessing.alignment import aligners
from preprocessing.alignment.parsed import TextGrids
from preprocessing.alignment.plausibility import check_plausible
from preprocessing.corpus.metadata import Utterance, read_metadata, write_reasons
from preprocessing.settings import PreprocessingSettings
from preprocessing.text.language import Language, corpus_language
from preprocessing.text.phones import PAUSE, UNKNOWN

Reasons = list[tuple[str, str]]
"""Pairs of an utterance and the reason why it is left out."""


def align(config: PreprocessingSettings) -> None:
    """Write the folder `paths.alignments`.

    It gets the TextGrids in `TextGrid/`; `textgrids.jsonl`, the same parsed; `lexicon.txt`, the
    pronunciations that the speaker used; and `unaligned.csv`, the utterances that are left out.

    Work that is finished survives if the process is killed: the aligner's model, and the TextGrids
    once all of them are there.

    Raises:
        RecipeError: the aligner is missing or fails, or the disk is full.
        FaultsError: recordings are missing, empty, corrupt or of another format, or no utterance
            could be aligned.
    """
    corpus = Path(config.paths.corpus)
    utterances = read_metadata(corpus / "metadata.csv")
    check_wavs(corpus, [utterance.id for utterance in utterances])
    language = corpus_language(config.corpus.language)
    transcripts, lexicon, unaligned = _transcripts(utterances, language)
    if not transcripts:
        raise FaultsError("aligning", unaligned, "No utterance is left to train on.")
    stage = ALIGNMENTS.output(config)
    finished = stage.folder / "TextGrid"
    if not (stage.is_begun() and finished.exists()):
        aligners.check(config.aligner, transcripts)
    if not stage.begin():
        print(f"stage 2: aligning {len(utterances)} utterances by {config.aligner.name}")
    if not finished.exists():
        recordings = sum((corpus / "wavs" / f"{id}.wav").stat().st_size for id in transcripts)
        run = aligners.ALIGNERS[config.aligner.name]
        with disk_space(stage.folder, recordings - bytes_in(stage.folder)):
            run(config.aligner, corpus / "wavs", transcripts, lexicon, stage.folder)
    grids = TextGrids(stage.folder, {})
    spoken: Counter[tuple[str, str]] = Counter()  # words with their phones
    for utterance in transcripts:
        try:
            alignment = grids.alignment(utterance, language.phones)
            waveform = read_wav(corpus / "wavs" / f"{utterance}.wav")
            check_plausible(alignment, waveform, config.corpus.screening)
        except RecipeError as error:
            unaligned.append((utterance, str(error)))
        else:
            words = transcripts[utterance]
            by_letters = {word.lower(): word for word in words}
            for word, phones in alignment.pronunciations():
                if phones and UNKNOWN not in phones:
                    # Some aligners write words in capitals.
                    word = word if word in words else by_letters.get(word.lower(), word)
                    spoken[word, " ".join(phones)] += 1
    grids.save()
    write_reasons(stage.folder / "unaligned.csv", sorted(unaligned))
    aligned = len(utterances) - len(unaligned)
    if not aligned:
        raise FaultsError("aligning", unaligned, "No utterance is left to train on.")
    _write_lexicon(stage.folder / "lexicon.txt", spoken)
    stage.finish()
    print(
        f"stage 2: {aligned} utterances aligned in {stage.folder}, {len(unaligned)} not "
        "(unaligned.csv says why)"
    )


def _transcripts(
    utterances: list[Utterance], language: Language
) -> tuple[dict[str, list[str]], dict[str, list[list[str]]], Reasons]:
    """The words of each utterance, the pronunciations of each word, and the utterances left out
    because one of their words has no pronunciation."""
    transcripts, lexicon, unaligned = {}, {}, []
    for utterance in utterances:
        try:
            tokens = language.tokens(utterance.text)
            words = [token for token in tokens if token != PAUSE]
            if language.connected:
                for token, phones in zip(tokens, language.connected(tokens), strict=True):
                    if token != PAUSE and phones not in lexicon.setdefault(token, []):
                        lexicon[token].append(phones)
            else:
                new = {word: language.pronunciations(word) for word in words if word not in lexicon}
                lexicon |= new
        except RecipeError as error:
            unaligned.append((utterance.id, str(error)))
        else:
            transcripts[utterance.id] = words
    return transcripts, lexicon, unaligned


def _write_lexicon(path: Path, spoken: Mapping[tuple[str, str], int]) -> None:
    """Write the pronunciations that the speaker used, the most frequent of each word first."""
    ordered = sorted(spoken.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    with atomic_path(path) as temporary:
        lines = (f"{word}\t{phones}\n" for (word, phones), _ in ordered)
        temporary.write_text("".join(lines), "utf-8")
