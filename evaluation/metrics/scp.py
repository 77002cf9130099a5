"""`make scp`: lists of a run's wavs, texts and recordings, as Kaldi and VERSA read them.

VERSA (github.com/wavlab-speech/versa) is then called with `--pred scp/heldout/wav.scp --gt
scp/heldout/reference.scp --text scp/heldout/text --io soundfile`.
"""

from pathlib import Path

from audio.wav import write_wav
from evaluation.settings import Settings
from pipeline.errors import RecipeError
from pipeline.files import atomic_path, read_csv, read_json
from preprocessing.features.store import FeatureStore, natural_waveform


def write_scp(config: Settings) -> None:
    """Write `scp/<set>/` in the run: wav.scp, text and, of held-out clips, reference.scp.

    The recordings are written beside them, as `scp/heldout/references/<id>.wav`.

    Raises:
        RecipeError: the run is not synthesised.
    """
    run = Path(config.paths.run).absolute()
    done = run / "synthesis" / "stage.json"
    if not (done.exists() and read_json(done)["complete"]):
        raise RecipeError(f"{run} is not synthesised: run `make stage5`, or choose another RUN")
    store = FeatureStore(config.paths.features)
    clips = read_csv(run / "synthesis" / "manifest.csv")
    for name in sorted({clip["set"] for clip in clips}):
        folder = run / "scp" / name
        chosen = sorted((clip for clip in clips if clip["set"] == name), key=lambda c: c["id"])
        columns = {
            "wav.scp": {clip["id"]: run / "synthesis" / clip["wav"] for clip in chosen},
            "text": {clip["id"]: clip["text"] for clip in chosen},
        }
        if recorded := [clip for clip in chosen if clip["segment"]]:
            columns["reference.scp"] = {}
            for clip in recorded:
                path = folder / "references" / f"{clip['id']}.wav"
                write_wav(path, natural_waveform(store.segment(int(clip["segment"]))))
                columns["reference.scp"][clip["id"]] = path
        for file, values in columns.items():
            with atomic_path(folder / file) as temporary:
                lines = (f"{key} {value}\n" for key, value in values.items())
                temporary.write_text("".join(lines), "utf-8")
        print(f"{folder}: {', '.join(columns)} of {len(chosen)} clips")
