"""Three ways to TextGrids: viter (installed), MFA (a command), or files that are there already."""

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from omegaconf import DictConfig

from audio.constants import SAMPLE_RATE
from audio.wav import read_wav, write_wav
from pipeline.download import fetch
from pipeline.errors import FaultsError, RecipeError
from pipeline.files import atomic_path
from pipeline.progress import progress
from pipeline.settings import chosen

VITER_SAMPLE_RATE = 16000
"""Hz"""

Lexicon = Mapping[str, list[list[str]]]


def _write_dictionary(path: Path, lexicon: Lexicon) -> None:
    with atomic_path(path) as temporary:
        lines = (f"{w}\t{' '.join(phones)}\n" for w, all in lexicon.items() for phones in all)
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
    """Recordings at viter's rate; its own resampling takes as long as its aligning."""
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
    aligner: DictConfig,
    wavs: Path,
    transcripts: Mapping[str, list[str]],
    lexicon: Lexicon,
    folder: Path,
) -> None:
    """Train viter on the corpus and align it; a model that is there from an earlier run is used.

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
            chosen = _evenly(corpus, transcripts, aligner.training_minutes)
            _write_transcripts(work / "training", {id: transcripts[id] for id in chosen})
            _link_wavs(work / "training", corpus, chosen)
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


def _evenly(wavs: Path, utterances: Iterable[str], minutes: float | None) -> list[str]:
    """Utterances of about so many minutes in all, drawn evenly over the list."""
    import soundfile

    ids = list(utterances)
    if minutes is None:
        return ids
    seconds = [soundfile.info(wavs / f"{id}.wav").duration for id in ids]
    share = min(1.0, 60 * minutes / sum(seconds))
    return [id for i, id in enumerate(ids) if int((i + 1) * share) > int(i * share)]


def align_by_mfa(
    aligner: DictConfig,
    wavs: Path,
    transcripts: Mapping[str, list[str]],
    lexicon: Lexicon,
    folder: Path,
) -> None:
    """Run `mfa validate` and `mfa align` with a pretrained acoustic model and our dictionary.

    After a kill, what was validated is not validated again, and `mfa align` finds its own earlier
    steps in its temporary folder.

    Raises:
        RecipeError: its model cannot be had, or it failed.
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
    # Into a folder that is there, MFA would write nothing.
    shutil.rmtree(work / "TextGrid", ignore_errors=True)
    output = [str(work / "TextGrid"), "--output_format", "long_textgrid"]
    _mfa("align", str(corpus), str(dictionary), model, *output, *common, str(work / "temporary"))
    if not any((work / "TextGrid").rglob("*.TextGrid")):
        raise RecipeError(f"mfa align wrote no TextGrid into {work / 'TextGrid'}")
    os.replace(work / "TextGrid", folder / "TextGrid")
    for used in ("corpus", "validation", "temporary"):
        shutil.rmtree(work / used, ignore_errors=True)


def _mfa(*arguments: str) -> None:
    done = subprocess.run(["mfa", *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RecipeError(
            f"mfa {arguments[0]} failed with status {done.returncode}: "
            f"{done.stderr[-2000:].strip()}\nThe same command goes on from there; to begin anew, "
            f"delete {arguments[-1]}"
        )


def collect_textgrids(
    aligner: DictConfig,
    wavs: Path,
    transcripts: Mapping[str, list[str]],
    lexicon: Lexicon,
    folder: Path,
) -> None:
    """Copy the corpus's TextGrids out of a folder, searched through, or a zip file.

    Raises:
        RecipeError: as of `find_textgrids`, or a file in the zip is damaged.
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
    """Names of these utterances' TextGrids in a folder, searched through, or a zip file.

    Raises:
        RecipeError: there is no such folder or file, it is not a zip file, or has none of them.
        FaultsError: it has two for one utterance.
    """
    if not source.exists():
        raise RecipeError(
            f"aligner=textgrid finds no folder or zip file at {source}: put your TextGrids there "
            "(for LJSpeech, those that ming024/FastSpeech2's README links to), or say where they "
            "are with aligner.source=<folder or zip>"
        )
    with _reader(source) as (names, _):
        grids = [name for name in names if name.endswith(".TextGrid")]
    found, faults = {}, []
    for name in grids:
        utterance = PurePosixPath(name).stem
        if utterance in found:
            faults.append((utterance, f"has {found[utterance]} and {name}"))
        elif utterance in utterances:
            found[utterance] = name
    if faults:
        raise FaultsError(f"looking for TextGrids in {source}", faults, "Leave one of each there.")
    if not found:
        raise RecipeError(
            f"{source} has no TextGrid of this corpus, such as {next(iter(utterances))}.TextGrid. "
            "No utterance is left to train on."
        )
    return found


@contextmanager
def _reader(source: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Names of the files in a folder or zip file, and what reads one of them."""
    if source.is_dir():
        paths = sorted(source.rglob("*.TextGrid"))
        yield [str(path.relative_to(source)) for path in paths], lambda n: (source / n).read_bytes()
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive.namelist(), archive.read
    except zipfile.BadZipFile as error:
        raise RecipeError(f"{source} is neither a folder nor a zip file: {error}") from error


def _check_mfa(aligner: DictConfig, utterances: Collection[str]) -> None:
    if not shutil.which("mfa"):
        raise RecipeError(
            "aligner=mfa needs the command `mfa`, which is not installed: "
            "`conda install -c conda-forge montreal-forced-aligner`; or use aligner=viter, which "
            "needs no other program"
        )
    model = aligner.acoustic_model
    if model.endswith(".zip") and "://" not in model and not Path(model).exists():
        raise RecipeError(
            f"aligner.acoustic_model={model} is not there: name a file, or see mfa.yaml"
        )


ALIGNERS = {"viter": align_by_viter, "mfa": align_by_mfa, "textgrid": collect_textgrids}
_CHECKS = {
    "viter": lambda aligner, utterances: None,
    "mfa": _check_mfa,
    "textgrid": lambda aligner, utterances: find_textgrids(Path(aligner.source), utterances),
}


def check(aligner: DictConfig, utterances: Collection[str]) -> None:
    """Whether an aligner has what it needs, so that no earlier result is given up for nothing.

    Raises:
        RecipeError: there is no such aligner, or its command or source is missing or wrong.
    """
    chosen("aligner.name", aligner.name, _CHECKS)(aligner, utterances)
