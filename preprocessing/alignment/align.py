"""Stage 2: TextGrids for a corpus, by one of three aligners."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from audio.wav import check_wavs, read_wav
from pipeline.disk import bytes_in, disk_space
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import atomic_path
from pipeline.settings import check_choice, check_numbers
from pipeline.stage_folder import StageFolder
from pipeline.stages import alignment_fingerprint
from preprocessing.alignment import aligners
from preprocessing.alignment.plausibility import check_plausible
from preprocessing.alignment.textgrid import Alignment, read_textgrid
from preprocessing.corpus.metadata import Utterance, read_metadata, write_reasons
from preprocessing.text.language import Language, corpus_language
from preprocessing.text.phones import PAUSE

Reasons = list[tuple[str, str]]

WHOLE = {"aligner.seed": 0, "aligner.jobs": 1}
REAL = {"aligner.training_minutes": 0.1}
"""Numbers that are whole and others, and the least that each may be."""


def align(config: DictConfig) -> None:
    """Write `TextGrid/`, `lexicon.txt` and `unaligned.csv` into `paths.alignments`.

    What is finished is kept if the process is killed: the lexicon, the aligner's model, and the
    TextGrids once they are all there.

    Raises:
        RecipeError: the aligner is missing or fails, or the disk is full.
        FaultsError: recordings are missing, empty, corrupt or of another format, or no utterance
            could be aligned.
    """
    check_numbers(config, WHOLE, REAL, nullable=REAL)
    if "triphones" in config.aligner:
        check_choice("aligner.triphones", config.aligner.triphones, (False, True))
    corpus = Path(config.paths.corpus)
    utterances = read_metadata(corpus / "metadata.csv")
    check_wavs(corpus, [utterance.id for utterance in utterances])
    language = corpus_language(config.corpus)
    transcripts, lexicon, unaligned = _transcripts(utterances, language)
    if not transcripts:
        raise FaultsError("aligning", unaligned, "No utterance is left to train on.")
    folder = StageFolder(config.paths.alignments, alignment_fingerprint(config))
    grids = folder.folder / "TextGrid"
    if not (folder.is_begun() and grids.exists()):
        aligners.check(config.aligner, transcripts)
    if not folder.begin():
        print(f"stage 2: aligning {len(utterances)} utterances by {config.aligner.name}")
    if not grids.exists():
        recordings = sum((corpus / "wavs" / f"{id}.wav").stat().st_size for id in transcripts)
        run = aligners.ALIGNERS[config.aligner.name]
        with disk_space(folder.folder, recordings - bytes_in(folder.folder)):
            run(config.aligner, corpus / "wavs", transcripts, lexicon, folder.folder)
    spoken: Counter[tuple[str, str]] = Counter()
    for utterance in transcripts:
        path = grids / f"{utterance}.TextGrid"
        try:
            alignment = read_textgrid(path, 0, language.phones)
            waveform = read_wav(corpus / "wavs" / f"{utterance}.wav")
            check_plausible(alignment, waveform, config.corpus.screening)
        except RecipeError as error:
            unaligned.append((utterance, str(error)))
        else:
            spoken.update(_spoken_words(alignment))
    write_reasons(folder.folder / "unaligned.csv", sorted(unaligned))
    aligned = len(utterances) - len(unaligned)
    if not aligned:
        raise FaultsError("aligning", unaligned, "No utterance is left to train on.")
    _write_lexicon(folder.folder / "lexicon.txt", spoken)
    folder.finish()
    print(
        f"stage 2: {aligned} utterances aligned in {folder.folder}, {len(unaligned)} not "
        "(unaligned.csv says why)"
    )


def _transcripts(
    utterances: list[Utterance], language: Language
) -> tuple[dict[str, list[str]], dict[str, list[list[str]]], Reasons]:
    """Words by utterance, pronunciations by word, and utterances that have no pronunciation."""
    transcripts, lexicon, unaligned = {}, {}, []
    for utterance in utterances:
        try:
            words = [token for token in language.tokens(utterance.text) if token != PAUSE]
            new = {word: language.pronunciations(word) for word in words if word not in lexicon}
            lexicon |= new
        except RecipeError as error:
            unaligned.append((utterance.id, str(error)))
        else:
            transcripts[utterance.id] = words
    return transcripts, lexicon, unaligned


def _spoken_words(alignment: Alignment) -> list[tuple[str, str]]:
    """Pairs of a word and the phones that were aligned to it."""
    return [
        (
            word.label,
            " ".join(
                phone.label
                for phone in alignment.phones
                if word.start - 1e-3 <= phone.start < word.end - 1e-3 and phone.label != PAUSE
            ),
        )
        for word in alignment.words
    ]


def _write_lexicon(path: Path, spoken: Mapping[tuple[str, str], int]) -> None:
    """The pronunciations that were used, word by word, the most frequent first."""
    ordered = sorted(spoken.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    with atomic_path(path) as temporary:
        lines = (f"{word}\t{phones}\n" for (word, phones), _ in ordered if phones)
        temporary.write_text("".join(lines), "utf-8")
