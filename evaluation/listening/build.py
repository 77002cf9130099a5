"""Writes a listening test: a folder to serve, and beside it the key that nobody is served.

<folder>/test/       index.html, page.js, page.css, clips/<random name>.wav
<folder>/key.json    which clip is which system, sentence by sentence
<folder>/key.<id>.json, of a test that was written there before
<folder>/answers.jsonl, once `make serve` has collected some
"""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import jinja2
import numpy as np
import soundfile

from audio.constants import SAMPLE_RATE
from audio.wav import write_wav
from evaluation.listening.design import CLEAN, CORRUPTED, Plan, make_plans
from evaluation.listening.loudness import matched
from evaluation.report.collect import Run, grouped
from pipeline.errors import RecipeError
from pipeline.files import read_json, write_json

PAGE = Path(__file__).parent / "page"
SHORTEST = 0.8
"""Seconds; shorter clips say little of naturalness."""


def choose_runs(runs: list[Run], names: list[str]) -> list[Run]:
    """The runs of these names, in this order; without names the first seed of every system.

    Their labels tell them apart.

    Raises:
        RecipeError: a run is not there or not finished, or there are not two.
    """
    by_name = {run.folder.name: run for run in runs}
    if unknown := [name for name in names if name not in by_name]:
        there = "\n  ".join(by_name)
        raise RecipeError(f"no finished run called {', '.join(unknown)}; there are\n  {there}")
    groups = grouped(runs)
    firsts = [group.runs[0] for group in groups if group.training]
    chosen = [by_name[name] for name in dict.fromkeys(names)] or firsts
    if len(chosen) < 2:
        raise RecipeError('a listening test needs two runs or more: RUNS="<run> <run>"')
    labels = {run.folder: group.label for group in groups for run in group.runs}
    chosen = [replace(run, label=labels[run.folder]) for run in chosen]
    count = Counter(run.label for run in chosen)
    return [
        replace(run, label=f"{run.label}, seed {run.seed}") if count[run.label] > 1 else run
        for run in chosen
    ]


def choose_sentences(runs: list[Run], items: int, seed: int) -> list[tuple[str, str]]:
    """(set, id) of so many sentences that every run has spoken, drawn at random.

    Raises:
        RecipeError: there are not so many.
    """
    spoken = [
        {(row["set"], row["id"]) for row in run.sentences if _seconds(row["wav"]) >= SHORTEST}
        for run in runs
    ]
    common = sorted(set.intersection(*spoken))
    if not 1 <= items <= len(common):
        raise RecipeError(
            f"{len(common)} sentences are spoken by all of these runs: ITEMS is at most that and "
            f"at least 1, not {items}"
        )
    return Random(f"sentences/{seed}").sample(common, items)


def _seconds(wav: str) -> float:
    return soundfile.info(wav).duration


def corrupted(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Speech under noise of its own power, which nobody who listens calls natural."""
    noise = random.normal(0.0, waveform.std(), len(waveform))
    return (waveform + noise).astype(np.float32)


def build_test(runs: list[Run], items: int, seed: int, address: str, folder: Path) -> str:
    """Write the test and return its id.

    Args:
        address: where the page sends answers; empty for a JSON download alone.

    Raises:
        RecipeError: too few runs or sentences, or `folder` holds answers to another test.
    """
    sentences = choose_sentences(runs, items, seed)
    names = [f"{of}/{name}" for of, name in sentences]
    systems = {run.folder.name: run for run in runs}
    plans = make_plans(list(systems), names, seed)
    random, waveforms = np.random.default_rng(seed), {}
    for run in runs:
        wavs = {(row["set"], row["id"]): row["wav"] for row in run.sentences}
        for name, sentence in zip(names, sentences, strict=True):
            waveforms[f"{run.folder.name}|{name}"], _ = soundfile.read(
                wavs[sentence], dtype="float32"
            )
    for name in names:
        clean = waveforms[f"{runs[0].folder.name}|{name}"]
        waveforms[f"{CLEAN}|{name}"], waveforms[f"{CORRUPTED}|{name}"] = (
            clean,
            corrupted(clean, random),
        )
    clips = matched(waveforms, SAMPLE_RATE)
    files = {
        key: hashlib.sha256(f"{seed}|{key}|".encode() + waveform.tobytes()).hexdigest()[:16]
        for key, waveform in clips.items()
    }
    test = public_test(plans, files, sample=f"{CLEAN}|{names[0]}")
    _refuse_other_answers(folder, test["id"])
    new = folder / ".test.new"  # which a kill leaves beside the test before
    shutil.rmtree(new, ignore_errors=True)
    _write_page(new, test, address)
    for key, waveform in clips.items():
        write_wav(new / "clips" / f"{files[key]}.wav", waveform)
    _keep_other_key(folder / "key.json", test["id"])
    key = {
        "test": test["id"],
        "labels": {name: run.label for name, run in systems.items()},
        "plans": [[asdict(trial) for trial in plan] for plan in plans],
    }
    write_json(folder / "key.json", key)
    shutil.rmtree(folder / "test", ignore_errors=True)
    new.rename(folder / "test")
    return test["id"]


def public_test(plans: list[Plan], files: dict[str, str], sample: str) -> dict:
    """What the page knows: an id, each plan's trials with the paths of their clips, and a sample.

    Args:
        files: name of each clip's file, without its ending, by `<system>|<sentence>`.
        sample: which of these listeners set their volume by.
    """
    shown = [
        [
            {
                "kind": trial.kind,
                "clips": [f"clips/{files[f'{s}|{trial.sentence}']}.wav" for s in trial.systems],
            }
            for trial in plan
        ]
        for plan in plans
    ]
    test = {"sample": f"clips/{files[sample]}.wav", "plans": shown}
    return {"id": hashlib.sha256(json.dumps(test).encode()).hexdigest()[:16]} | test


def _refuse_other_answers(folder: Path, test: str) -> None:
    collected = folder / "answers.jsonl"
    if collected.exists() and read_json(folder / "key.json")["test"] != test:
        raise RecipeError(
            f"{collected} holds answers to another test, whose key would be lost: move {folder} "
            "away first"
        )


def _keep_other_key(path: Path, test: str) -> None:
    """Rename the key of another test, which may be served elsewhere."""
    other = read_json(path)["test"] if path.exists() else test
    if other != test:
        path.rename(path.with_name(f"key.{other}.json"))


def _write_page(folder: Path, test: dict, address: str) -> None:
    folder.mkdir(parents=True)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True)
    # Within a script element only "</" would end it, and JSON may write it otherwise.
    data = json.dumps(test).replace("</", "<\\/")
    page = environment.get_template("index.html.j2").render(test=data, address=address)
    for name, text in (("index.html", page), *((n, _read(n)) for n in ("page.js", "page.css"))):
        (folder / name).write_text(text, "utf-8")


def _read(name: str) -> str:
    return (PAGE / name).read_text("utf-8")
