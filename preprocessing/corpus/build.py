"""Stage 1: fetch a corpus and write it in LJSpeech's layout, without what is not usable speech."""

import shutil
from collections.abc import Callable, Set
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from audio.constants import SAMPLE_RATE
from audio.wav import check_wavs, read_wav, write_wav
from pipeline.disk import bytes_in, disk_space
from pipeline.download import fetch, read_archive
from pipeline.errors import FaultsError, RecipeError, UtteranceError
from pipeline.files import atomic_path
from pipeline.progress import progress
from pipeline.settings import chosen
from pipeline.stage_folder import StageFolder
from pipeline.stages import corpus_fingerprint
from preprocessing.corpus import asterisk, readers
from preprocessing.corpus.metadata import Utterance, read_metadata, write_metadata, write_reasons
from preprocessing.text.language import Language, corpus_language

Reasons = list[tuple[str, str]]


def build_corpus(config: DictConfig) -> None:
    """Write `wavs/`, `metadata.csv` and `dropped.csv` into `paths.corpus`.

    Raises:
        RecipeError: the corpus cannot be fetched or verified, or the disk is full.
        FaultsError: recordings are missing, empty, corrupt or of another format.
    """
    stage = StageFolder(config.paths.corpus, corpus_fingerprint(config))
    stage.check_ours()
    language = corpus_language(config.corpus)
    layouts = {"asterisk": _build_asterisk, "ljspeech": _build_ljspeech}
    layouts |= dict.fromkeys(("table", "folders"), _build_recordings)
    build = chosen("corpus.layout", config.corpus.layout, layouts)
    # Each begins the stage, which may empty its folder, once its inputs have passed.
    found, dropped = build(config.corpus, Path(config.paths.downloads), stage)
    corrections = config.corpus.corrections
    utterances = [
        Utterance(u.id, u.raw, language.normalise(corrections.get(u.id, u.text))) for u in found
    ]
    kept, unusable = _screen(utterances, stage.folder, config.corpus.screening, language)
    if not kept:
        raise RecipeError(f"no utterance of {config.corpus.name} is usable: {unusable[:3]}")
    write_metadata(stage.folder / "metadata.csv", kept)
    write_reasons(stage.folder / "dropped.csv", sorted(dropped + unusable))
    stage.finish()
    print(
        f"stage 1: {len(kept)} utterances in {stage.folder}, {len(dropped) + len(unusable)} "
        "dropped (dropped.csv says why)"
    )


def _selection(corpus: DictConfig, known: Set[str]) -> Callable[[str], bool]:
    """Whether an utterance is asked for by `corpus.only`.

    Raises:
        RecipeError: that or `corpus.corrections` names utterances that are not among the known.
    """
    for setting in ("only", "corrections"):
        if unknown := sorted(set(corpus[setting] or ()) - known):
            raise RecipeError(
                f"corpus.{setting} names utterances that are not there: {', '.join(unknown)}"
            )
    return (lambda utterance: True) if corpus.only is None else set(corpus.only).__contains__


def _build_asterisk(
    corpus: DictConfig, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    import soxr

    texts, recordings = asterisk.obtain(corpus.source, downloads)
    spoken, dropped = asterisk.prompts(texts, recordings)
    selected = _selection(corpus, texts.keys() | recordings.keys())
    spoken = {prompt: text for prompt, text in spoken.items() if selected(prompt)}
    stage.begin()
    with (
        disk_space(stage.folder, 100_000 * len(spoken) - bytes_in(stage.folder)),
        progress("decoding", len(spoken)) as show,
    ):
        for done, prompt in enumerate(spoken, 1):
            path = stage.folder / "wavs" / f"{prompt}.wav"
            if not path.exists():
                waveform = asterisk.decode(recordings[prompt])
                write_wav(path, soxr.resample(waveform, asterisk.SOURCE_RATE, SAMPLE_RATE))
            show(done)
    utterances = [Utterance(prompt, text, text) for prompt, text in spoken.items()]
    return utterances, [(prompt, reason) for prompt, reason in dropped if selected(prompt)]


def _build_ljspeech(
    corpus: DictConfig, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    source = corpus.source
    if source.folder:
        published = Path(source.folder)
        utterances = _published(corpus, published / "metadata.csv", published / "wavs")
        check_wavs(published, [utterance.id for utterance in utterances])
        stage.begin()
        _link_wavs(published / "wavs", utterances, stage.folder / "wavs")
        return utterances, []
    archive = downloads / Path(source.archive.url).name
    fetch([source.archive.url, *source.archive.mirrors], archive, source.archive.sha256)
    metadata = archive.with_name(f"{archive.name}.metadata.csv")
    if metadata.exists() and metadata.stat().st_mtime >= archive.stat().st_mtime:
        # Kept when this archive was last unpacked, so that its ids are known before that is lost.
        _selection(corpus, {utterance.id for utterance in read_metadata(metadata)})
    stage.begin()
    _unpack_ljspeech(archive, corpus.only, metadata, stage.folder / "wavs")
    utterances = _published(corpus, metadata, stage.folder / "wavs")
    check_wavs(stage.folder, [utterance.id for utterance in utterances])
    return utterances, []


def _published(corpus: DictConfig, metadata: Path, wavs: Path) -> list[Utterance]:
    """The utterances that are asked for, of a corpus that is whole if all of them are."""
    if not metadata.exists():
        raise RecipeError(
            f"corpus.source.folder={metadata.parent} has no metadata.csv: name the folder that "
            "holds it and wavs/, such as LJSpeech-1.1"
        )
    published = {utterance.id: utterance for utterance in read_metadata(metadata)}
    selected = _selection(corpus, published.keys())
    if corpus.only is None:
        _compare(wavs, published.keys(), corpus.source.clips)
    return [utterance for id, utterance in published.items() if selected(id)]


def _link_wavs(wavs: Path, utterances: list[Utterance], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # links to what may be gone
    folder.mkdir()
    for utterance in utterances:
        name = f"{utterance.id}.wav"
        (folder / name).symlink_to((wavs / name).absolute())


def _unpack_ljspeech(archive: Path, only: list[str] | None, metadata: Path, wavs: Path) -> None:
    """Write an archive's recordings that are asked for, and its metadata.csv."""
    wanted = None if only is None else set(only)
    metadata.unlink(missing_ok=True)

    def is_wanted(path: Path) -> bool:
        is_recording = path.suffix == ".wav" and (wanted is None or path.stem in wanted)
        return is_recording or path.name == "metadata.csv"

    # Uncompressed speech takes about 1.5 times its bzip2 archive.
    needed = archive.stat().st_size * 3 // 2 if only is None else 0
    with disk_space(wavs.parent, needed - bytes_in(wavs)):
        for name, contents in read_archive(archive, is_wanted):
            path = metadata if name.name == "metadata.csv" else wavs / name.name
            if not path.exists() or path.stat().st_size != len(contents):
                with atomic_path(path) as temporary:
                    temporary.write_bytes(contents)
    if not metadata.exists():
        raise RecipeError(f"{archive} has no metadata.csv: it is not the LJSpeech archive")


def _build_recordings(
    corpus: DictConfig, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    """Convert recordings of any format, where they are not converted yet."""
    found = readers.LAYOUTS[corpus.layout](corpus.source)
    selected = _selection(corpus, {recording.id for recording in found})
    recordings = [recording for recording in found if selected(recording.id)]
    seconds, faults = 0.0, []
    for recording in recordings:
        try:
            seconds += readers.seconds(recording.path)
        except RecipeError as error:
            faults.append((str(recording.path), str(error)))
    if faults:
        raise FaultsError("reading the recordings", faults, "Mend them, or leave them out.")
    stage.begin()
    with (
        disk_space(stage.folder, int(2 * SAMPLE_RATE * seconds) - bytes_in(stage.folder)),
        progress("converting", len(recordings)) as show,
    ):
        for done, recording in enumerate(recordings, 1):
            path = stage.folder / "wavs" / f"{recording.id}.wav"
            try:
                if not path.exists():
                    readers.convert(recording.path, path)
            except RecipeError as error:
                faults.append((str(recording.path), str(error)))
            show(done)
    if faults:
        raise FaultsError("converting the recordings", faults, "Mend them, or leave them out.")
    return [Utterance(each.id, each.text, each.text) for each in recordings], []


def _compare(wavs: Path, rows: Set[str], clips: int | None) -> None:
    """Whether there is a recording for each row of metadata.csv, a row for each, and all of them.

    Raises:
        FaultsError: lists the differences.
    """
    recordings = {path.stem for path in wavs.glob("*.wav")}
    faults = [
        (id, "has a row in metadata.csv but no recording") for id in sorted(rows - recordings)
    ]
    faults += [
        (id, "has a recording but no row in metadata.csv") for id in sorted(recordings - rows)
    ]
    if clips is not None and len(rows) != clips:
        faults.append(("metadata.csv", f"has {len(rows)} rows where {clips} are expected"))
    if faults:
        raise FaultsError(
            "comparing the corpus with its published form",
            faults,
            "Get it whole, or say what it has with corpus.source.clips=<rows, or null for any>.",
        )


def _screen(
    utterances: list[Utterance], folder: Path, screening: DictConfig, language: Language
) -> tuple[list[Utterance], Reasons]:
    """Split utterances into usable ones and those whose recording cannot be what the text says.

    Raises:
        FaultsError: recordings cannot be read.
    """
    kept, dropped, faults = [], [], []
    with progress("screening", max(len(utterances), 1)) as show:
        for done, utterance in enumerate(utterances, 1):
            try:
                waveform = read_wav(folder / "wavs" / f"{utterance.id}.wav")
            except UtteranceError as error:
                faults.append((utterance.id, str(error)))
                continue
            if reason := _unusable(utterance.text, waveform, screening, language):
                dropped.append((utterance.id, reason))
            else:
                kept.append(utterance)
            show(done)
    if faults:
        raise FaultsError("screening", faults, "Mend these recordings, or leave them out.")
    for id, _ in dropped:
        (folder / "wavs" / f"{id}.wav").unlink()
    return kept, dropped


def _unusable(
    text: str, waveform: np.ndarray, screening: DictConfig, language: Language
) -> str | None:
    try:
        language.tokens(text)
    except RecipeError as error:
        return str(error)
    rms = float(np.sqrt(np.mean(np.square(waveform))))
    if rms < screening.lowest_rms:
        return f"is silent: its RMS is {rms:.5f} of full scale"
    slowest, fastest = screening.characters_per_second
    letters = sum(character.isalpha() for character in text)
    rate = letters / (len(waveform) / SAMPLE_RATE)
    if not slowest <= rate <= fastest:
        return f"cannot be its text: {letters} letters in {len(waveform) / SAMPLE_RATE:.2f} s"
    return None
