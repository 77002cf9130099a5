"""Three ways to get TextGrids: viter (a package), MFA (a command), or files that already exist."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from audio.constants import SAMPLE_RATE
from audio.wav import read_wav, write_wav
from pipeline.download import fetch
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import atomic_path
from pipeline.progress import progress
from preprocessing.settings import Aligner, MFASettings, TextGridSettings, ViterSettings

VITER_SAMPLE_RATE = 16000
"""Hz"""

Lexicon = Mapping[str, list[list[str]]]
"""The pronunciations of each word."""


def _write_dictionary(path: Path, lexicon: Lexicon) -> None:
    with atomic_path(path) as temporary:
        lines = (
            f"{word}\t{' '.join(phones)}\n"
            for word, pronunciations in lexicon.items()
            for phones in pronunciations
        )
        temporary.write_text("".join(lines), "utf-8")


def _write_transcripts(folder: Path, transcripts: Mapping[str, list[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for utterance, words in transcripts.items():
        (folder / f"{utterance}.txt").write_text(" ".join(words) + "\n", "utf-8")


def _link_wavs(folder: Path, wavs: Path, ids: Iterable[str]) -> None:
    for utterance in ids:
        link = folder / f"{utterance}.wav"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(wavs / f"{utterance}.wav", folder))


def _resample_wavs(folder: Path, wavs: Path, ids: Iterable[str]) -> None:
    """Write the recordings at viter's rate. Viter's own resampling takes as long as aligning."""
    import soxr

    missing = [id for id in ids if not (folder / f"{id}.wav").exists()]
    with progress("resampling", max(len(missing), 1)) as show:
        for done, utterance in enumerate(missing, 1):
            waveform = soxr.resample(
                read_wav(wavs / f"{utterance}.wav"), SAMPLE_RATE, VITER_SAMPLE_RATE
            )
            write_wav(folder / f"{utterance}.wav", waveform, VITER_SAMPLE_RATE)
            show(done)


def align_by_viter(
    aligner: ViterSettings,
    wavs: Path,
    transcripts: Mapping[str, list[str]],
    lexicon: Lexicon,
    folder: Path,
) -> None:
    """Train viter on the corpus and align the corpus with it.

    A model that an earlier, killed run has finished is used again.

    Raises:
        RecipeError: viter failed.
    """
    import viter

    work = folder / "viter"
    dictionary, model_path = work / "dictionary.txt", work / "model.viter"
    work.mkdir(exist_ok=True)
    _write_dictionary(dictionary, lexicon)
    corpus = work / "corpus"
    _write_transcripts(corpus, transcripts)
    _resample_wavs(corpus, wavs, transcripts)
    try:
        if not model_path.exists():
            training = _drawn_evenly(corpus, transcripts, aligner.training_minutes)
            _write_transcripts(work / "training", {id: transcripts[id] for id in training})
            _link_wavs(work / "training", corpus, training)
            with progress("training viter", 1) as show, atomic_path(model_path) as temporary:
                viter.train(
                    work / "training",
                    temporary,
                    dict=dictionary,
                    cpu=True,
                    seed=aligner.seed,
                    no_tri=not aligner.triphones,
                    quiet=True,
                    progress=lambda state: show(state["fraction"]),
                )
        model = viter.Model(model_path, dict=dictionary, cpu=True)
        shutil.rmtree(work / "TextGrid", ignore_errors=True)
        model.align_corpus(corpus, work / "TextGrid")
    except viter.ViterError as error:
        raise RecipeError(f"viter failed: {error}") from error
    os.replace(work / "TextGrid", folder / "TextGrid")
    shutil.rmtree(corpus)
    shutil.rmtree(work / "training", ignore_errors=True)


def _drawn_evenly(wavs: Path, utterances: Iterable[str], minutes: float | None) -> list[str]:
    """Utterances drawn evenly over the list, of about this many minutes together."""
    import soundfile

    ids = list(utterances)
    if minutes is None:
        return ids
    seconds = [soundfile.info(wavs / f"{id}.wav").duration for id in ids]
    fraction = min(1.0, 60 * minutes / sum(seconds))
    return [id for i, id in enumerate(ids) if int((i + 1) * fraction) > int(i * fraction)]


def align_by_mfa(
    aligner: MFASettings,
    wavs: Path,
    transcripts: Mapping[str, list[str]],
    lexicon: Lexicon,
    folder: Path,
) -> None:
    """Run `mfa validate` and `mfa align` with a pretrained acoustic model and our dictionary.

    After a kill, a finished validation is not repeated, and `mfa align` finds the steps that it
    has finished in its temporary folder.

    Raises:
        RecipeError: the acoustic model cannot be downloaded, or MFA failed.
    """
    work = folder / "mfa"
    corpus, dictionary, validated = work / "corpus", work / "dictionary.txt", work / "validated"
    work.mkdir(exist_ok=True)
    model = aligner.acoustic_model
    if "://" in model:
        fetch([model], work / PurePosixPath(model).name, aligner.sha256)
        model = str(work / PurePosixPath(model).name)
    common = ["--single_speaker", "--num_jobs", str(aligner.jobs), "--temporary_directory"]
    if not validated.exists():
        _write_dictionary(dictionary, lexicon)
        _write_transcripts(corpus, transcripts)
        _link_wavs(corpus, wavs, transcripts)
        inputs = [str(corpus), str(dictionary), "--acoustic_model_path", model]
        _mfa("validate", *inputs, "--ignore_acoustics", *common, str(work / "validation"))
        validated.touch()
    # MFA writes nothing into a folder that exists.
    shutil.rmtree(work / "TextGrid", ignore_errors=True)
    output = [str(work / "TextGrid"), "--output_format", "long_textgrid"]
    _mfa("align", str(corpus), str(dictionary), model, *output, *common, str(work / "temporary"))
    if not any((work / "TextGrid").rglob("*.TextGrid")):
        raise RecipeError(f"mfa align wrote no TextGrid into {work / 'TextGrid'}")
    os.replace(work / "TextGrid", folder / "TextGrid")
    for name in ("corpus", "validation", "temporary"):
        shutil.rmtree(work / name, ignore_errors=True)


def _mfa(*arguments: str) -> None:
    done = subprocess.run(["mfa", *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RecipeError(
            f"mfa {arguments[0]} failed with status {done.returncode}: "
            f"{done.stderr[-2000:].strip()}\nRun the same command again to continue, or delete "
            f"{arguments[-1]} to start over"
        )


def collect_textgrids(
    aligner: TextGridSettings,
    wavs: Path,
    transcripts: Mapping[str, list[str]],
    lexicon: Lexicon,
    folder: Path,
) -> None:
    """Copy the corpus's TextGrids out of a folder and its subfolders, or out of a zip file.

    Raises:
        RecipeError: as in `find_textgrids`, or a file in the zip is damaged.
    """
    source = Path(aligner.source)
    found = find_textgrids(source, transcripts)
    collected = folder / "collected"
    shutil.rmtree(collected, ignore_errors=True)
    collected.mkdir()
    with _reader(source) as (_, read):
        for utterance, name in found.items():
            (collected / f"{utterance}.TextGrid").write_bytes(read(name))
    os.replace(collected, folder / "TextGrid")


def find_textgrids(source: Path, utterances: Collection[str]) -> dict[str, str]:
    """Find these utterances' TextGrids in a folder and its subfolders, or in a zip file.

    Returns:
        The name of each TextGrid within the folder or zip file, by utterance.

    Raises:
        RecipeError: there is no such folder or zip file, or it has none of these TextGrids.
        FaultsError: it has two TextGrids for one utterance.
    """
    if not source.exists():
        raise RecipeError(
            f"aligner=textgrid finds no folder or zip file at {source}: put your TextGrids there "
            "(for LJSpeech, those that ming024/FastSpeech2's README links to), or say where they "
            "are with aligner.source=<folder or zip>"
        )
    with _reader(source) as (names, _):
        grids = [name for name in names if name.lower().endswith(".textgrid")]
    found, faults = {}, []
    for name in grids:
        # Some programs on Windows write backslashes into zip files.
        utterance = PurePosixPath(name.replace("\\", "/")).stem
        if utterance in found:
            faults.append((utterance, f"has {found[utterance]} and {name}"))
        elif utterance in utterances:
            found[utterance] = name
    if faults:
        raise FaultsError(f"looking for TextGrids in {source}", faults, "Keep one for each.")
    if not found:
        raise RecipeError(
            f"{source} has no TextGrid of this corpus, such as {next(iter(utterances))}.TextGrid. "
            "No utterance is left to train on."
        )
    return found


@contextmanager
def _reader(source: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The names of the files in a folder or zip file, and a function that reads one of them."""
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        yield [str(path.relative_to(source)) for path in paths], lambda n: (source / n).read_bytes()
        return
    try:
        with zipfile.ZipFile(source) as archive:
            if locked := [each.filename for each in archive.infolist() if each.flag_bits & 1]:
                raise RecipeError(
                    f"{source} is encrypted ({locked[0]} needs a password): unpack it, and name "
                    "the folder"
                )
            yield archive.namelist(), archive.read
    except zipfile.BadZipFile as error:
        raise RecipeError(f"{source} is neither a folder nor a zip file: {error}") from error


def _check_mfa(aligner: MFASettings, utterances: Collection[str]) -> None:
    if not shutil.which("mfa"):
        raise RecipeError(
            "aligner=mfa needs the command `mfa`, which is not installed: "
            "`conda install -c conda-forge montreal-forced-aligner`; or use aligner=viter, which "
            "needs no other program"
        )
    model = aligner.acoustic_model
    if model.endswith(".zip") and "://" not in model and not Path(model).exists():
        raise RecipeError(
            f"aligner.acoustic_model={model} is not there: conf/aligner/mfa.yaml says what to give"
        )


ALIGNERS = {"viter": align_by_viter, "mfa": align_by_mfa, "textgrid": collect_textgrids}
_CHECKS = {
    "viter": lambda aligner, utterances: None,
    "mfa": _check_mfa,
    "textgrid": lambda aligner, utterances: find_textgrids(Path(aligner.source), utterances),
}


def check(aligner: Aligner, utterances: Collection[str]) -> None:
    """Check that an aligner has what it needs, before an earlier result is deleted.

    Raises:
        RecipeError: the aligner's command or source is missing or wrong.
    """
    _CHECKS[aligner.name](aligner, utterances)
