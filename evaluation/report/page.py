"""Stage 7's page: answer, tables, curves and audio in one self-contained file."""

import base64
import io
import json
from pathlib import Path

import jinja2
import soundfile
import torch
import yaml
from matplotlib.image import imsave

from audio.constants import HOP
from audio.mel import log_mel
from evaluation.report.collect import Group
from evaluation.report.summary import QUESTION, answer, early_losses, headline, line_styles
from evaluation.report.tables import Table
from evaluation.report.training_figures import loss_band
from evaluation.settings import Settings
from fastspeech2.training.metrics import LOSSES
from pipeline.files import atomic_path

SENTENCES_PER_SET = 5
SETS = {"heldout": "Held-out prompt", "other": "Other domains"}
EARLY_VIEW = (0.025, 0.25)
"""Fractions of the training between which the curves are shown first."""
WEB = Path(__file__).parent / "web"


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _clip(row: dict, label: str, longest: float) -> dict:
    """A sentence of a system: its audio in MP3, which every browser plays, and its mel.

    The width of the mel's picture is a percentage of that of the longest clip, in seconds.
    """
    waveform, rate = soundfile.read(row["wav"], dtype="float32")
    audio, picture = io.BytesIO(), io.BytesIO()
    soundfile.write(audio, waveform, rate, format="MP3")
    mel = log_mel(torch.from_numpy(waveform)).numpy()
    imsave(picture, mel, origin="lower", cmap="gray_r", metadata={"Software": None})
    return {
        "label": label,
        "audio": _data_url(audio.getvalue(), "audio/mpeg"),
        "mel": _data_url(picture.getvalue(), "image/png"),
        "width": round(100 * mel.shape[1] * HOP / rate / longest, 1),
        **{name: row.get(name) for name in ("transcript", "word_errors", "words")},
        "mos": f"{float(row['mos']):.2f}",
    }


def listening(groups: list[Group]) -> list[dict]:
    """The first few sentences of each set, with the audio and transcript of every system.

    A system's audio is that of its first seed with audio on this machine.
    """
    by_system = {
        group.label: {(row["set"], row["id"]): row for row in group.run_with_audio.sentences}
        for group in groups
        if group.run_with_audio
    }
    sentences = []
    for name, title in SETS.items():
        keys = dict.fromkeys(key for rows in by_system.values() for key in rows if key[0] == name)
        for key in list(keys)[:SENTENCES_PER_SET]:
            spoken = {label: rows[key] for label, rows in by_system.items() if key in rows}
            longest = max(soundfile.info(row["wav"]).duration for row in spoken.values())
            clips = [_clip(row, label, longest) for label, row in spoken.items()]
            text = next(iter(spoken.values()))["text"]
            sentences.append({"set": title, "text": text, "clips": clips})
    return sentences


def curves(groups: list[Group]) -> list[dict]:
    """Validation losses of each trained system by component, and how to draw them."""
    styles = line_styles(groups)
    return [
        {
            "label": group.label,
            **styles[group.label],
            "losses": {
                name: {
                    key: [round(float(value), 5) for value in values]
                    for key, values in loss_band(group, f"validation_{name}").items()
                }
                for name in LOSSES
            },
        }
        for group in groups
        if group.training
    ]


def definitions(groups: list[Group]) -> dict[str, str]:
    """What each measure means; all meanings where runs were measured differently."""
    ways: dict[str, dict[str, None]] = {}
    for run in (run for group in groups for run in group.runs):
        for name, text in run.metrics["definitions"].items():
            ways.setdefault(name, {})[text] = None
    return {name: " In other runs: ".join(texts) for name, texts in ways.items()}


def _inline(value: object) -> str:
    """JSON for a script element, which "</" would end too early."""
    return json.dumps(value, ensure_ascii=False).replace("</", "<\\/")


def write_report(
    groups: list[Group],
    tables: list[Table],
    figures: dict[str, Path],
    config: Settings,
    path: Path,
) -> None:
    """Write the page. The same runs give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB), autoescape=True, trim_blocks=True
    )
    drawn = curves(groups)
    totals = {system["label"]: system["losses"]["total"] for system in drawn}
    updates = [update for losses in totals.values() for update in losses["update"]]
    last = max(updates, default=0)
    early = [EARLY_VIEW[0] * last, EARLY_VIEW[1] * last]
    trained = [group for group in groups if group.training]
    page = environment.get_template("report.html.j2").render(
        question=QUESTION,
        answer=answer(groups, tables),
        headline=headline(groups),
        recipe=config.recipe.name,
        tables=[table for table in tables if len(table.rows) > 1],
        early_rows=early_losses(totals, early[1]),
        definitions=definitions(groups),
        figures={name: _data_url(file.read_bytes(), "image/png") for name, file in figures.items()},
        listening=listening(groups),
        recorded=[(group.label, run) for group in groups for run in group.runs if run.recorded],
        curves=_inline({"systems": drawn, "early": early}) if drawn else "",
        styles=_web("uPlot.min.css") + _web("report.css"),
        charts=_web("uPlot.iife.min.js"),
        curves_script=_web("curves.js"),
        folds_script=_web("folds.js"),
        versions=trained[0].training["versions"] if trained else {},
        configuration=yaml.safe_dump(config.plain(), sort_keys=False, allow_unicode=True),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, "utf-8")


def _web(name: str) -> str:
    return (WEB / name).read_text("utf-8")
