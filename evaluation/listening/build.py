"""Writes a listening test: a folder to serve, and beside it a key that is not served.

<folder>/test/          index.html, page.js, page.css, clips/<digest>.wav
<folder>/key.json       the system and the sentence of each clip in each plan
<folder>/key.<id>.json  the key of a test that was written to this folder before
<folder>/answers.sqlite answers that `make serve` has collected; answers.jsonl is their export
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import jinja2
import numpy as np
import soundfile
from scipy.signal import convolve, firwin, kaiserord

from audio.constants import SAMPLE_RATE
from audio.wav import write_wav
from evaluation.listening.answers import Key, Question
from evaluation.listening.design import (
    BEST_WORST,
    CLEAN,
    CORRUPTED,
    KINDS,
    LOW_ANCHOR,
    MIDDLE_ANCHOR,
    MUSHRA,
    OPEN_REFERENCE,
    REFERENCE,
    Plan,
    Trial,
    make_plans,
)
from evaluation.listening.examples import MUFFLED, Example, worked_examples
from evaluation.listening.loudness import match_loudness
from evaluation.listening.store import has_answers
from evaluation.report.collect import Run, grouped
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json

PAGE = Path(__file__).parent / "page"
MIN_SECONDS = 0.8
"""Shorter clips say little about naturalness."""


def choose_runs(runs: list[Run], names: list[str]) -> list[Run]:
    """Choose the runs with these names, or without names the first seed of every system.

    Returns:
        The runs in the order of their names, with labels that distinguish them.

    Raises:
        RecipeError: a run does not exist or is not finished, or there are fewer than two runs.
    """
    by_name = {run.folder.name: run for run in runs}
    if unknown := [name for name in names if name not in by_name]:
        finished = "\n  ".join(by_name)
        raise RecipeError(f"no finished run is called {', '.join(unknown)}, only\n  {finished}")
    groups = grouped(runs)
    firsts = [group.runs[0] for group in groups if group.training]
    chosen = [by_name[name] for name in dict.fromkeys(names)] or firsts
    if len(chosen) < 2:
        raise RecipeError('a listening test needs at least two runs: RUNS="<run> <run>"')
    labels = {run.folder: group.label for group in groups for run in group.runs}
    chosen = [replace(run, label=labels[run.folder]) for run in chosen]
    count = Counter(run.label for run in chosen)
    return [
        replace(run, label=f"{run.label}, seed {run.seed}") if count[run.label] > 1 else run
        for run in chosen
    ]


def choose_sentences(runs: list[Run], items: int, seed: int) -> list[tuple[str, str]]:
    """Draw sentences that every run has spoken, as pairs of (set, id).

    Args:
        runs: finished runs.
        items: the number of sentences.
        seed: of the random choice.

    Raises:
        RecipeError: there are fewer sentences than `items`.
    """
    spoken = [
        {(row["set"], row["id"]) for row in run.sentences if _seconds(row["wav"]) >= MIN_SECONDS}
        for run in runs
    ]
    common = sorted(set.intersection(*spoken))
    if not 1 <= items <= len(common):
        raise RecipeError(
            f"all of these runs have {len(common)} sentences in common: give ITEMS from 1 to "
            f"{len(common)}, not {items}"
        )
    return Random(f"sentences/{seed}").sample(common, items)


def _seconds(wav: str) -> float:
    return soundfile.info(wav).duration


def corrupt(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add noise of the same power as the speech. No attentive listener calls this natural."""
    noise = random.normal(0.0, waveform.std(), len(waveform))
    return (waveform + noise).astype(np.float32)


def build_test(
    runs: list[Run],
    items: int,
    seed: int,
    address: str,
    folder: Path,
    participant: str = "",
    *,
    kinds: Sequence[str] = KINDS[:2],
    reference: Run | None = None,
    consent: str = "",
    questionnaire: Sequence[Question] = (),
) -> str:
    """Write the test and return its id.

    Args:
        runs: from `choose_runs`.
        items: number of sentences; a listener gets a trial of each kind for each of them.
        seed: of the choice of sentences, of the plans and of the noise in attention checks.
        address: where the page sends answers. If empty, listeners download them as JSON.
        folder: where to write; see the module's docstring.
        participant: names of parameters of the page's address, separated by spaces. The first that
            is there holds the participant's id.
        kinds: of trials: preference, rating, best_worst, mushra.
        reference: natural recordings of the sentences, for MUSHRA.
        consent: text to which listeners have to agree before they start.
        questionnaire: is asked after the trials.

    Raises:
        RecipeError: there are too few sentences or runs, MUSHRA has no reference, or `folder` holds
            answers to another test.
    """
    if BEST_WORST in kinds and len(runs) < 3:
        raise RecipeError("best_worst needs at least three runs")
    if MUSHRA in kinds and reference is None:
        raise RecipeError(
            "mushra needs natural recordings as its reference: make stage5 stage6 "
            'ARGS="system=natural"'
        )
    reference = reference if MUSHRA in kinds else None
    spoken = [*runs, reference] if reference else runs
    sentences = choose_sentences(spoken, items, seed)
    names = [f"{set_name}/{name}" for set_name, name in sentences]
    systems = {run.folder.name: run for run in runs}
    plans = make_plans(list(systems), names, seed, kinds)
    clips = match_loudness(
        _waveforms(runs, reference, sentences, seed, BEST_WORST in kinds), SAMPLE_RATE
    )
    files = {
        key: hashlib.sha256(f"{seed}|{key}|".encode() + waveform.tobytes()).hexdigest()[:16]
        for key, waveform in clips.items()
    }
    examples = worked_examples(kinds, names[0])
    form = {"consent": consent, "questionnaire": [asdict(each) for each in questionnaire]}
    test = public_test(plans, examples, files, f"{CLEAN}|{names[0]}") | form
    test = {"id": hashlib.sha256(json.dumps(test).encode()).hexdigest()[:16]} | test
    _refuse_other_answers(folder, test["id"])
    # Written beside the previous test, which stays whole if this is interrupted.
    new = folder / ".test.new"
    shutil.rmtree(new, ignore_errors=True)
    _write_page(new, test, address=address, participant=participant)
    for key, waveform in clips.items():
        write_wav(new / "clips" / f"{files[key]}.wav", waveform)
    _keep_other_key(folder / "key.json", test["id"])
    labels = {name: run.label for name, run in systems.items()}
    key = Key(test["id"], labels, plans, bool(consent), list(questionnaire))
    write_json(folder / "key.json", asdict(key))
    shutil.rmtree(folder / "test", ignore_errors=True)
    new.rename(folder / "test")
    return test["id"]


def _waveforms(
    runs: list[Run],
    reference: Run | None,
    sentences: list[tuple[str, str]],
    seed: int,
    muffled: bool,
) -> dict[str, np.ndarray]:
    """All clips of a test, by `<system>|<sentence>`."""
    random, waveforms = np.random.default_rng(seed), {}

    def read(run: Run, set_name: str, name: str) -> np.ndarray:
        (wav,) = (r["wav"] for r in run.sentences if (r["set"], r["id"]) == (set_name, name))
        return soundfile.read(wav, dtype="float32")[0]

    for set_name, name in sentences:
        sentence = f"{set_name}/{name}"
        for run in runs:
            waveforms[f"{run.folder.name}|{sentence}"] = read(run, set_name, name)
        clean = waveforms[f"{runs[0].folder.name}|{sentence}"]
        waveforms[f"{CLEAN}|{sentence}"] = clean
        waveforms[f"{CORRUPTED}|{sentence}"] = corrupt(clean, random)
        if muffled and (set_name, name) == sentences[0]:
            waveforms[f"{MUFFLED}|{sentence}"] = low_pass(clean, 3500, SAMPLE_RATE)
        if reference:
            natural = read(reference, set_name, name)
            waveforms |= {
                f"{REFERENCE}|{sentence}": natural,
                f"{OPEN_REFERENCE}|{sentence}": natural,
                f"{MIDDLE_ANCHOR}|{sentence}": low_pass(natural, 7000, SAMPLE_RATE),
                f"{LOW_ANCHOR}|{sentence}": low_pass(natural, 3500, SAMPLE_RATE),
            }
    return waveforms


def low_pass(waveform: np.ndarray, cutoff: float, rate: int) -> np.ndarray:
    """Remove frequencies above `cutoff` Hz, as ITU-R BS.1534-3, section 5.1, asks for anchors.

    The attenuation is below 0.1 dB up to `cutoff` and above 50 dB from 500 Hz higher on.
    """
    taps, beta = kaiserord(60, 500 / (rate / 2))
    window = firwin(taps | 1, cutoff + 250, window=("kaiser", beta), fs=rate)
    return convolve(waveform, window, mode="same").astype(np.float32)


def public_test(
    plans: list[Plan], examples: list[Example], files: dict[str, str], sample: str
) -> dict:
    """Collect what the page may know: the clips of each trial and example, and a sample.

    Args:
        plans: from `make_plans`.
        examples: from `worked_examples`.
        files: from `<system>|<sentence>` to the name of the clip's file, without its suffix.
        sample: the key in `files` of the clip with which listeners set their volume.
    """

    def shown(trial: Trial) -> dict:
        clips = [f"clips/{files[f'{clip}|{trial.sentence}']}.wav" for clip in trial.clips]
        return {"kind": trial.kind, "clips": clips}

    return {
        "sample": f"clips/{files[sample]}.wav",
        "examples": [shown(trial) | {"text": text} for trial, text in examples],
        "plans": [[shown(trial) for trial in plan] for plan in plans],
    }


def _refuse_other_answers(folder: Path, test: str) -> None:
    if has_answers(folder) and read_json(folder / "key.json")["test"] != test:
        raise RecipeError(
            f"{folder} holds answers to another test, which need its key: move it to another place "
            "first"
        )


def _keep_other_key(path: Path, test: str) -> None:
    """Rename the key of a previous test, which may still be served elsewhere."""
    other = read_json(path)["test"] if path.exists() else test
    if other != test:
        path.rename(path.with_name(f"key.{other}.json"))


def _write_page(folder: Path, test: dict, **settings: str) -> None:
    folder.mkdir(parents=True)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True)
    # "</" would end the script element. JSON allows the slash to be escaped.
    data = json.dumps(test).replace("</", "<\\/")
    page = environment.get_template("index.html.j2").render(test=data, **settings)
    for name, text in (("index.html", page), *((n, _read(n)) for n in ("page.js", "page.css"))):
        (folder / name).write_text(text, "utf-8")


def _read(name: str) -> str:
    return (PAGE / name).read_text("utf-8")
