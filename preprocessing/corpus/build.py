"""Stage 1: fetch a corpus and write it in LJSpeech's layout, without what is not usable speech."""

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import FaultsError, RecipeError
from pipeline.stage_folder import StageFolder
from pipeline.stages import CORPUS
from preprocessing.corpus import asterisk, festvox, ljspeech, readers
from preprocessing.corpus.metadata import (
    Utterance,
    write_metadata,
    write_reasons,
    write_replacements,
)
from preprocessing.corpus.recordings import (
    ADVICE,
    Reasons,
    Recording,
    convert_all,
    duration,
    selection,
)
from preprocessing.corpus.screening import screen
from preprocessing.settings import (
    AsteriskCorpus,
    CorpusSettings,
    FestvoxCorpus,
    FolderCorpus,
    LJSpeechCorpus,
    PreprocessingSettings,
    TableCorpus,
)
from preprocessing.text.language import corpus_language


def build_corpus(config: PreprocessingSettings) -> None:
    """Write `wavs/`, `metadata.csv`, `dropped.csv` and `texts.csv` into `paths.corpus`.

    `texts.csv` lists each part of a text that normalising changed: as written, as spoken, the rule,
    and what else it can mean, if it is ambiguous.

    Raises:
        RecipeError: the corpus cannot be fetched or verified, or the disk is full.
        FaultsError: recordings are missing, empty, corrupt, or of another format.
    """
    stage = CORPUS.output(config)
    stage.refuse_foreign_files()
    layouts: dict[str, Callable] = {
        "asterisk": _build_asterisk,
        "festvox": _build_festvox,
        "ljspeech": _build_ljspeech,
        "table": _build_recordings,
        "folders": _build_recordings,
    }
    build = layouts[config.corpus.layout]
    downloads = Path(config.paths.downloads)
    if isinstance(config.corpus, FestvoxCorpus):  # It brings the files of its language.
        downloads = festvox.obtain(config.corpus.source, downloads)
    language = corpus_language(config.corpus.language)
    # Each layout checks its inputs before it begins the stage, which may empty an earlier result.
    published, left_out = build(config.corpus, downloads, stage)
    texts = {u.id: config.corpus.corrections.get(u.id, u.text) for u in published}
    utterances = [Utterance(u.id, u.raw, language.normalise(texts[u.id])) for u in published]
    kept, unusable = screen(utterances, stage.folder, config.corpus.screening, language)
    if not kept:
        raise RecipeError(f"no utterance of {config.corpus.name} is usable: {unusable[:3]}")
    changes = [(u.id, *each) for u in kept for each in language.replacements(texts[u.id])]
    write_replacements(stage.folder / "texts.csv", changes)
    dropped = sorted(left_out + unusable)
    write_metadata(stage.folder / "metadata.csv", kept)
    write_reasons(stage.folder / "dropped.csv", dropped)
    stage.finish()
    print(
        f"stage 1: {len(kept)} utterances in {stage.folder}, {len(dropped)} dropped "
        "(dropped.csv says why)"
    )


def _build_asterisk(
    corpus: AsteriskCorpus, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    texts, paths = asterisk.obtain(corpus.source, downloads)
    spoken, dropped = asterisk.prompts(texts, paths)
    is_selected = selection(corpus, texts.keys() | paths.keys())
    recordings = [Recording(id, paths[id], text) for id, text in spoken.items() if is_selected(id)]
    stage.begin()
    seconds = sum(asterisk.duration(recording.path) for recording in recordings)
    convert_all(recordings, stage.folder, seconds, asterisk.decode)
    return _utterances(recordings), [(id, reason) for id, reason in dropped if is_selected(id)]


def _build_ljspeech(
    corpus: LJSpeechCorpus, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    if corpus.source.folder:
        return ljspeech.link_folder(corpus, stage)
    return ljspeech.download_archive(corpus, downloads, stage)


def _build_festvox(
    corpus: FestvoxCorpus, voice: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    recordings = festvox.read_voice(voice)
    assert corpus.language, "the layout festvox has a language of its own"
    grids = Path(corpus.language.lexicon).with_name("TextGrid")
    festvox.write_textgrids(recordings, grids, corpus_language(corpus.language))
    return _convert(corpus, recordings, stage)


def _build_recordings(
    corpus: TableCorpus | FolderCorpus, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    return _convert(corpus, readers.LAYOUTS[corpus.layout](corpus.source), stage)


def _convert(
    corpus: CorpusSettings, published: list[Recording], stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    is_selected = selection(corpus, {recording.id for recording in published})
    recordings = [recording for recording in published if is_selected(recording.id)]
    seconds, faults = 0.0, []
    for recording in recordings:
        try:
            seconds += duration(recording.path)
        except RecipeError as error:
            faults.append((str(recording.path), str(error)))
    if faults:
        raise FaultsError("reading the recordings", faults, ADVICE)
    stage.begin()
    convert_all(recordings, stage.folder, seconds)
    return _utterances(recordings), []


def _utterances(recordings: list[Recording]) -> list[Utterance]:
    return [Utterance(each.id, each.text, each.text) for each in recordings]
