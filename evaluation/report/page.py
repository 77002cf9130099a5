"""Stage 7's page: tables, figures and audio in one self-contained file."""

import base64
import io
import json
from pathlib import Path

import jinja2
import soundfile
from omegaconf import DictConfig, OmegaConf

from evaluation.report.collect import Group
from evaluation.report.tables import Table
from evaluation.report.training_figures import loss_band
from fastspeech2.training.metrics import LOSSES
from pipeline.files import atomic_path

SENTENCES_PER_SET = 5
SETS = {"heldout": "Held-out prompts", "other": "Sentences of other domains"}


def _mp3(wav: Path) -> str:
    """Encode a recording as a data URL, in MP3, which every browser plays."""
    waveform, rate = soundfile.read(wav, dtype="float32")
    encoded = io.BytesIO()
    soundfile.write(encoded, waveform, rate, format="MP3")
    return "data:audio/mpeg;base64," + base64.b64encode(encoded.getvalue()).decode()


def _png(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def listening(groups: list[Group]) -> list[dict]:
    """The first few sentences of each set, with the audio and transcript of every system.

    A system's audio is that of its first seed with audio on this machine.
    """
    by_run = {
        group.label: {(row["set"], row["id"]): row for row in group.run_with_audio.sentences}
        for group in groups
        if group.run_with_audio
    }
    sets = []
    for name, title in SETS.items():
        keys = dict.fromkeys(key for rows in by_run.values() for key in rows if key[0] == name)
        sentences = []
        for key in list(keys)[:SENTENCES_PER_SET]:
            spoken = {label: rows[key] for label, rows in by_run.items() if key in rows}
            clips = [
                {"label": label, "audio": _mp3(Path(row["wav"])), "transcript": row["transcript"]}
                | {"errors": row["word_errors"], "words": row["words"]}
                | {"mos": f"{float(row['mos']):.2f}"}
                for label, row in spoken.items()
            ]
            sentences.append({"text": next(iter(spoken.values()))["text"], "clips": clips})
        if sentences:
            sets.append({"title": title, "sentences": sentences})
    return sets


def curves(groups: list[Group]) -> list[dict]:
    """Validation losses of each trained system by component, for the interactive curves."""
    return [
        {
            "label": group.label,
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
    config: DictConfig,
    path: Path,
) -> None:
    """Write the page. The same runs give the same bytes."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    trained = [group for group in groups if group.training]
    page = environment.get_template("report.html.j2").render(
        recipe=config.recipe.name,
        tables=tables,
        definitions=definitions(groups),
        figures={caption: _png(figure) for caption, figure in figures.items()},
        listening=listening(groups),
        recorded=[(g.label, run) for g in groups for run in g.runs if run.recorded],
        curves=_inline(curves(groups)) if trained else "",
        curves_script=(Path(__file__).parent / "curves.js").read_text("utf-8"),
        versions=trained[0].training["versions"] if trained else {},
        configuration=OmegaConf.to_yaml(config, resolve=True),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, "utf-8")
