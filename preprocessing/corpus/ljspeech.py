"""LJSpeech and corpora in its layout: `wavs/<id>.wav` at 22,050 Hz, and `metadata.csv`."""

import re
import shutil
from collections.abc import Set
from pathlib import Path

from audio.wav import check_wavs
from pipeline.disk import bytes_in, disk_space
from pipeline.download import fetch, read_archive
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import atomic_path
from pipeline.stage_folder import StageFolder
from preprocessing.corpus.metadata import Utterance, read_metadata
from preprocessing.corpus.recordings import Reasons, selection
from preprocessing.settings import LJSpeechCorpus

_WORD = re.compile(r"[^\W\d_]+")


def link_folder(corpus: LJSpeechCorpus, stage: StageFolder) -> tuple[list[Utterance], Reasons]:
    """Link to the recordings of a copy in `corpus.source.folder`.

    Returns:
        The utterances, and the recordings that were left out with the reason.

    Raises:
        RecipeError: there is no metadata.csv, or a setting names unknown utterances.
        FaultsError: recordings or rows are missing, damaged, or of another format.
    """
    published = Path(corpus.source.folder)
    utterances, left_out = _published(corpus, published / "metadata.csv", published / "wavs")
    check_wavs(published, [utterance.id for utterance in utterances])
    stage.begin()
    wavs = stage.folder / "wavs"
    shutil.rmtree(wavs, ignore_errors=True)  # An earlier run's links may point to deleted files.
    wavs.mkdir()
    for utterance in utterances:
        name = f"{utterance.id}.wav"
        (wavs / name).symlink_to((published / "wavs" / name).absolute())
    return utterances, left_out


def download_archive(
    corpus: LJSpeechCorpus, downloads: Path, stage: StageFolder
) -> tuple[list[Utterance], Reasons]:
    """Fetch `corpus.source.archive` and unpack its recordings.

    Returns:
        The utterances, and the recordings that were left out with the reason.

    Raises:
        RecipeError: the archive cannot be fetched, the disk is full, or a setting names unknown
            utterances.
        FaultsError: recordings or rows are missing, damaged, or of another format.
    """
    source = corpus.source.archive
    archive = downloads / Path(source.url).name
    fetch([source.url, *source.mirrors], archive, source.sha256)
    # Unpacking writes the archive's metadata.csv beside it. If it is still there from an earlier
    # run, we can check the ids in the settings before `begin` empties the earlier result.
    metadata = archive.with_name(f"{archive.name}.metadata.csv")
    if metadata.exists() and metadata.stat().st_mtime >= archive.stat().st_mtime:
        selection(corpus, {utterance.id for utterance in read_metadata(metadata)})
    stage.begin()
    _unpack(archive, corpus.only, metadata, stage.folder / "wavs")
    utterances, left_out = _published(corpus, metadata, stage.folder / "wavs")
    check_wavs(stage.folder, [utterance.id for utterance in utterances])
    for id, _ in left_out:
        (stage.folder / "wavs" / f"{id}.wav").unlink()
    return utterances, left_out


def _published(
    corpus: LJSpeechCorpus, metadata: Path, wavs: Path
) -> tuple[list[Utterance], Reasons]:
    """Return the utterances that `corpus.only` asks for; without it, the corpus has to be whole.

    If `corpus.source.clips` is null, recordings without a row are left out, with this reason.
    """
    if not metadata.exists():
        raise RecipeError(
            f"corpus.source.folder={metadata.parent} has no metadata.csv: name the folder that "
            "holds it and wavs/, such as LJSpeech-1.1"
        )
    published = {utterance.id: utterance for utterance in read_metadata(metadata)}
    if others := [each for each in published.values() if _is_another_text(each)]:
        raise FaultsError(
            f"reading {metadata}",
            [(each.id, f"has the third field '{each.text[:40]}'") for each in others],
            "The third field should be the text before it as it is spoken, but shares no word with "
            "it. Is it a speaker? Correct it, or take it out.",
        )
    is_selected = selection(corpus, published.keys())
    left_out = []
    if corpus.only is None:
        left_out = _check_whole(wavs, published.keys(), corpus.source.clips)
    return [utterance for id, utterance in published.items() if is_selected(id)], left_out


def _is_another_text(utterance: Utterance) -> bool:
    """Whether a normalised text has none of three or more words of the published one."""
    words, spoken = ({*_WORD.findall(text.lower())} for text in (utterance.raw, utterance.text))
    return len(words) > 2 and not words & spoken


def _unpack(archive: Path, only: list[str] | None, metadata: Path, wavs: Path) -> None:
    """Write the archive's metadata.csv, and those of its recordings that `corpus.only` asks for."""
    wanted = None if only is None else set(only)
    metadata.unlink(missing_ok=True)

    def is_wanted(path: Path) -> bool:
        is_recording = path.suffix == ".wav" and (wanted is None or path.stem in wanted)
        return is_recording or path.name == "metadata.csv"

    # Uncompressed speech takes about 1.5 times the space of its bzip2 archive.
    needed = archive.stat().st_size * 3 // 2 if only is None else 0
    with disk_space(wavs.parent, needed - bytes_in(wavs)):
        for name, contents in read_archive(archive, is_wanted):
            path = metadata if name.name == "metadata.csv" else wavs / name.name
            if not path.exists() or path.stat().st_size != len(contents):
                with atomic_path(path) as temporary:
                    temporary.write_bytes(contents)
    if not metadata.exists():
        raise RecipeError(f"{archive} has no metadata.csv: it is not the LJSpeech archive")


def _check_whole(wavs: Path, rows: Set[str], clips: int | None) -> Reasons:
    """Check that each row of metadata.csv has a recording and each recording a row.

    Args:
        wavs: the folder of recordings.
        rows: the ids in metadata.csv.
        clips: the number of rows to expect; None allows any, and recordings without a row.

    Returns:
        The recordings without a row.

    Raises:
        FaultsError: lists the differences.
    """
    recordings = {path.stem for path in wavs.glob("*.wav")}
    faults = [
        (id, "has a row in metadata.csv but no recording") for id in sorted(rows - recordings)
    ]
    without_row = [
        (id, "has a recording but no row in metadata.csv") for id in sorted(recordings - rows)
    ]
    if clips is not None:
        faults += without_row
        if len(rows) != clips:
            faults.append(("metadata.csv", f"has {len(rows)} rows where {clips} are expected"))
    if faults:
        raise FaultsError(
            "comparing the corpus with its published form",
            faults,
            "Get the whole corpus. If it is a part on purpose, take rows without a recording out "
            "of metadata.csv and set corpus.source.clips=null, which also leaves out recordings "
            "without a row.",
        )
    return without_row
