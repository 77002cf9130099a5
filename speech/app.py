"""`make app`: a page on this machine that speaks with several voices side by side."""

import functools
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Gradio reads this when it is imported. Nothing about this machine is sent anywhere.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio

from pipeline.configuration import RESOURCES
from pipeline.errors import RecipeError
from speech.settings import SpeechSettings

MAX_CHARACTERS = 5000
SHOWN = 3
"""Number of voices that are chosen at first."""
MOST_PHONES = 60
"""The phones of longer speech would cover each other in a figure."""
FACTORS = ("Speed", "Pitch", "Energy")
THEME = gradio.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]
).set(
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_text_color="white",
    block_label_text_color="*neutral_800",
    block_title_text_color="*neutral_800",
    body_text_color_subdued="*neutral_700",
)
"""With fonts of this machine, since the default would fetch some from elsewhere, and with enough
contrast of all texts."""
CSS = """
.min_value, .max_value, time, .playback span { color: var(--body-text-color) !important; }
"""
"""Gradio's grey of the ends of sliders and of the player's times has too little contrast."""


class Voices:
    """Voices by name, which are loaded when they are first used.

    Args:
        configs: for each voice, the configuration that `make say` would have.
    """

    def __init__(self, configs: Mapping[str, SpeechSettings]):
        self.configs = configs
        self._loaded, self._lock = {}, threading.Lock()

    def speaker(self, name: str):
        """The `Speaker` of this voice."""
        from speech.voice import configured_voice  # torch takes seconds; the page is shown before

        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = configured_voice(self.configs[name]).speaker()
            return self._loaded[name]


def find_voices(config: SpeechSettings) -> dict[str, SpeechSettings]:
    """Find the voices of `config.app.voices`, by default those of the package and trained runs.

    Returns:
        For each name the configuration with which `make say` would use it.

    Raises:
        RecipeError: a name is neither a voice nor a trained run, or there is no voice at all.
    """
    packaged = {path.parent.name: path.parent for path in RESOURCES.glob("voices/*/voice.json")}
    runs = Path(config.paths.experiment)
    trained = [path.parent.parent.name for path in sorted(runs.glob("*/train/model.pt"))]
    found = {}
    for name in config.app.voices.split() or [*packaged, *trained]:
        if name in packaged or (Path(name) / "voice.json").exists():
            found[name] = config.model_copy(update={"voice": name})
        elif name in trained:
            paths = config.paths.model_copy(update={"run": str(runs / name)})
            found[name] = config.model_copy(update={"voice": "", "name": name, "paths": paths})
        else:
            known = "\n  ".join([*packaged, *trained]) or "none"
            raise RecipeError(
                f"{name} is neither a folder of a voice nor a trained run in {runs}. There are:"
                f"\n  {known}"
            )
    if not found:
        raise RecipeError(f"there is no voice, and no trained run in {runs}: run `make demo`")
    return found


def draw(mel, f0, phones: list[tuple[str, int]], rate: float) -> Any:
    """Draw a log-mel `[frames, mels]` with phones, and F0 in Hz `[frames]` below, by matplotlib.

    Args:
        phones: with the number of frames of each.
        rate: frames per second.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    seconds = len(mel) / rate
    top.imshow(mel.T, origin="lower", aspect="auto", extent=(0, seconds, 0, mel.shape[1]))
    top.set_ylabel("mel channel")
    if len(phones) <= MOST_PHONES:
        start = 0
        for phone, frames in phones:
            top.axvline(start / rate, color="white", linewidth=0.3)
            place = (start + frames / 2) / rate
            top.text(place, mel.shape[1], phone, ha="center", va="bottom", size=6, rotation=90)
            start += frames
    bottom.plot([i / rate for i in range(len(f0))], f0, drawstyle="steps-post")
    bottom.set_ylabel("F0, Hz")
    bottom.set_xlabel("seconds")
    return figure


def speak_with(speaker, rows: list[list[str]], *factors: float) -> tuple[tuple, Any]:
    """Speak sentences of phones, and return (rate, samples) and the figure."""
    import numpy as np

    from audio.constants import FRAME_RATE, SAMPLE_RATE

    waveform, spoken = speaker.speak(rows, *factors)
    f0 = [each.pitch.exp().repeat_interleave(each.durations) for each in spoken]
    mel, f0 = (np.concatenate(part) for part in ([each.mel for each in spoken], f0))
    frames = [count for each in spoken for count in each.durations.tolist()]
    phones = list(zip([phone for row in rows for phone in row], frames, strict=True))
    samples = (np.clip(waveform.numpy(), -1, 1) * 32767).astype(np.int16)
    return (SAMPLE_RATE, samples), draw(mel, f0, phones, FRAME_RATE)


def make_app(voices: Voices) -> gradio.Blocks:
    """Make the page. Its functions can also be called from elsewhere, as `/speak` and `/phones`."""

    def told(work):
        """Show a user's mistake as a message."""

        @functools.wraps(work)
        def guarded(*arguments):
            try:
                return work(*arguments)
            except RecipeError as error:
                raise gradio.Error(str(error), title="This cannot be spoken") from None

        return guarded

    def spoken(rows: list[list[str]], names: list[str], factors: tuple) -> list:
        if not names:
            raise RecipeError("Choose at least one voice.")
        shown = []
        for name in voices.configs:
            chosen = name in names
            audio, figure = (
                speak_with(voices.speaker(name), rows, *factors) if chosen else (None,) * 2
            )
            shown += [gradio.update(visible=chosen), audio, figure]
        return shown

    @told
    def speak(text: str, names: list[str], *factors: float) -> list:
        if not re.search(r"\w", text):
            raise RecipeError("Write a text first: there is no letter or digit to speak.")
        if len(text) > MAX_CHARACTERS:
            raise RecipeError(
                f"The text has {len(text)} characters. This page speaks up to {MAX_CHARACTERS}; "
                "`make say` speaks texts of any length."
            )
        if not names:
            raise RecipeError("Choose at least one voice.")
        rows = voices.speaker(names[0]).phones(text)
        return ["\n".join(" ".join(row) for row in rows), *spoken(rows, names, factors)]

    @told
    def speak_phones(text: str, names: list[str], *factors: float) -> list:
        rows = [line.split() for line in text.splitlines() if line.split()]
        if not rows:
            raise RecipeError("There are no phones: press “Speak the text”, or write some.")
        if len(text) > MAX_CHARACTERS:
            raise RecipeError(f"This page speaks phones of up to {MAX_CHARACTERS} characters.")
        return spoken(rows, names, factors)

    names = list(voices.configs)
    with gradio.Blocks(title="SNIPER-TTS", analytics_enabled=False) as app:
        gradio.Markdown("# SNIPER-TTS")
        text = gradio.Textbox("The weather will be fine this afternoon.", label="Text", lines=3)
        chosen = gradio.CheckboxGroup(names, value=names[:SHOWN], label="Voices")
        with gradio.Row():
            factors = [gradio.Slider(0.5, 2.0, 1.0, step=0.05, label=name) for name in FACTORS]
        button = gradio.Button("Speak the text", variant="primary")
        with gradio.Row():
            outputs = []
            for name in names:
                with gradio.Column(visible=name in names[:SHOWN], min_width=360) as column:
                    gradio.Markdown(f"## {name}")
                    audio = gradio.Audio(label=f"Speech of {name}", format="wav", interactive=False)
                    figure = gradio.Plot(show_label=False, format="png")  # it would cover phones
                outputs += [column, audio, figure]
        phones = gradio.Textbox(label="Phones, a sentence a line", lines=3, interactive=True)
        again = gradio.Button("Speak the phones")
        button.click(speak, [text, chosen, *factors], [phones, *outputs], api_name="speak")
        again.click(speak_phones, [phones, chosen, *factors], outputs, api_name="phones")
    return app


def serve_app(config: SpeechSettings) -> None:
    """Serve the page until the process is interrupted.

    Raises:
        RecipeError: there is no voice, or the host and port cannot be used.
    """
    voices = Voices(find_voices(config))
    try:
        _, address, _ = make_app(voices).launch(
            server_name=config.app.host,
            server_port=config.app.port,
            share=False,
            quiet=True,
            show_error=True,
            prevent_thread_lock=True,
            footer_links=[],
            theme=THEME,
            css=CSS,
        )
    except OSError as error:
        raise RecipeError(
            f"cannot listen at {config.app.host}:{config.app.port} ({error}): choose another port "
            "with PORT="
        ) from None
    print(f"{len(voices.configs)} voices at {address}\nPress Ctrl-C to stop.", flush=True)
    try:
        for name in list(voices.configs)[:SHOWN]:
            voices.speaker(name)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("stopped")
