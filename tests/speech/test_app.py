"""The page of `make app`, as a program and in Chromium. Needs requirements-app.txt."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import PROJECT, composed
from speech_cases import random_run

from audio.constants import SAMPLE_RATE
from pipeline.errors import RecipeError

pytestmark = pytest.mark.slow

NAMES = ["seed=1", "sparsity.start=0.4,sparsity=decaying"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def app(experiment: Path, *overrides: str):
    """Run the script, and give the page's address and what it printed."""
    port = free_port()
    command = [sys.executable, "scripts/app.py", f"paths.experiment={experiment}"]
    lexicon = f"paths.alignments={experiment}/alignments"
    process = subprocess.Popen(
        [*command, lexicon, f"app.port={port}", *overrides],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line, line + process.stdout.read()
        yield f"http://127.0.0.1:{port}/", process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.stdout.close()


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    """Two runs of random weights, whose names hold commas and equals signs."""
    folder = tmp_path_factory.mktemp("experiment")
    for name in NAMES:
        random_run(folder / name)
        lexicon = folder / name / "lexicon.txt"
        if lexicon.exists():
            (folder / "alignments").mkdir(exist_ok=True)
            shutil.copy(lexicon, folder / "alignments")
    (folder / "alignments").mkdir(exist_ok=True)
    (folder / "alignments" / "lexicon.txt").touch()
    return folder


@pytest.fixture(scope="module")
def page(experiment):
    with app(experiment, f'app.voices="{" ".join(NAMES)}"') as (address, _):
        yield address


@pytest.fixture(scope="module")
def client(page):
    from gradio_client import Client

    return Client(page, verbose=False)


def speak(client, text: str, names=NAMES, factors=(1.0, 1.0, 1.0), api="/speak") -> list:
    return list(client.predict(text, names, *factors, api_name=api))


def audio_of(result) -> np.ndarray:
    value = result["value"] if isinstance(result, dict) else result
    waveform, rate = soundfile.read(value)
    assert rate == SAMPLE_RATE and Path(value).suffix == ".wav"
    return waveform


def test_voices_speak_side_by_side_with_phones_and_figures(client):
    phones, first, figure, second, other = speak(client, "Hello. {HH AH0} hello.")
    assert phones.splitlines()[1].startswith("HH AH0") and len(phones.splitlines()) == 2
    for waveform, drawn in ((audio_of(first), figure), (audio_of(second), other)):
        assert abs(waveform).max() > 0 and drawn["type"] == "matplotlib"
        assert drawn["plot"].startswith("data:image/png;base64,")
    # The phones as they are give the same speech again, and edited ones other speech.
    again = speak(client, phones, api="/phones")
    assert np.array_equal(audio_of(again[0]), audio_of(first))
    edited = speak(client, phones.splitlines()[0], api="/phones")
    assert len(audio_of(edited[0])) < len(audio_of(first))
    slow = speak(client, "Hello.", factors=(0.5, 1.2, 0.8))
    fast = speak(client, "Hello.", factors=(2.0, 1.2, 0.8))
    assert len(audio_of(slow[1])) > 1.5 * len(audio_of(fast[1]))


def test_only_chosen_voices_speak(client):
    _, audio, _, nothing, _ = speak(client, "Hello.", NAMES[:1])
    assert audio is not None and nothing is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Write a text first"),
        (" \n…!", "Write a text first"),
        ("你好", "cannot"),
        ("Hello {XX}.", "XX"),
        ("a" * 5001, "The text has 5001 characters"),
    ],
)
def test_a_text_that_cannot_be_spoken_is_told(client, text, message):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=message):
        speak(client, text)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "<script>alert(1)</script> & 50 % of $3.50",
        "No. " * 60,
        "word " * 300,
        "Tabs\tand\nlines, é, “quotes” – and 😀 at 10:30 on 3/4/2021.",
    ],
)
def test_any_text_is_spoken_or_told(client, text):
    from gradio_client.exceptions import AppError

    try:
        assert len(audio_of(speak(client, text, NAMES[:1])[1])) > 1000
    except AppError as error:  # a message of ours, not of a failure within
        assert re.search("cannot|unknown|character", str(error)), error


def test_phones_and_voices_that_do_not_exist_are_told(client):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match="unknown phone QQ. The model knows: "):
        speak(client, "HH QQ", api="/phones")
    with pytest.raises(AppError, match="There are no phones"):
        speak(client, " \n", api="/phones")
    with pytest.raises(AppError, match="Choose at least one voice"):
        speak(client, "Hello.", [])


def test_it_listens_only_here(experiment):
    with app(experiment) as (address, process):
        listening = Path(f"/proc/{process.pid}/net/tcp").read_text()
        port = f":{int(address.rsplit(':')[-1].strip('/')):04X}"
        places = [line.split()[1] for line in listening.splitlines() if " 0A " in line]
        assert [place for place in places if place.endswith(port)] == [f"0100007F{port}"]


def test_in_a_browser(page, browser):
    from axe_playwright_python.sync_playwright import Axe

    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    faults, asked = [], set()
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: asked.add(request.url))
    opened.goto(page)
    opened.get_by_label("Text", exact=True).fill("Hello.")
    opened.get_by_role("button", name="Speak the text").click()
    opened.locator("img[src^='data:image/png']").first.wait_for(timeout=120_000)
    assert opened.get_by_label("Phones, a sentence a line").input_value().startswith("HH")
    if folder := os.environ.get("SCREENS"):
        opened.wait_for_timeout(2000)
        opened.screenshot(path=f"{folder}/app.png", full_page=True)
    found = Axe().run(opened).response["violations"]
    serious = [
        f"{each['id']}: {node['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert not serious and not faults, "\n".join([*serious, *faults])
    assert {url for url in asked if not url.startswith((page, "data:", "blob:"))} == set()
    opened.close()


def test_wrong_names_are_told(experiment):
    from speech.app import find_voices

    config = composed(f"paths.experiment={experiment}", "app.voices=nobody")
    known = "nobody is neither .*There are:\n  allison\n  seed=1"
    with pytest.raises(RecipeError, match=known) as told:
        find_voices(config)
    assert NAMES[1] in str(told.value)
    assert list(find_voices(composed(f"paths.experiment={experiment}"))) == ["allison", *NAMES]
