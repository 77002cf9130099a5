"""Wrong settings are all reported at once, and before an earlier result is emptied."""

import pytest
from conftest import composed

from evaluation.metrics.evaluate import evaluate_run
from fastspeech2.training.train import train
from hifigan.finetuning.train import finetune
from pipeline.errors import RecipeError
from pipeline.stage_folder import StageFolder
from preprocessing.alignment.align import align
from preprocessing.features.build import build_features
from speech.synthesis import synthesise_run


@pytest.mark.parametrize(
    ("stage", "output", "overrides", "messages"),
    [
        (
            align,
            "alignments",
            ["aligner=viter", "aligner.training_minutes=0", "aligner.seed=first"],
            [
                "aligner.training_minutes=0: give a number of 0.1 or more",
                "aligner.seed=first: give a whole number of 0 or more",
            ],
        ),
        (
            align,
            "alignments",
            ["aligner=viter", "aligner.triphones=maybe"],
            ["aligner.triphones=maybe: choose one of False, True"],
        ),
        (
            build_features,
            "features",
            ["features.f0.decimation=0", "features.max_seconds=ten"],
            [
                "features.f0.decimation=0: give a whole number of 1 or more",
                "features.max_seconds=ten: give a number of 0 or more",
            ],
        ),
        (
            build_features,
            "features",
            ["features.f0.floor=900"],
            ["floor=900 is not below its ceiling"],
        ),
        (
            build_features,
            "features",
            ["splits.words=[5]"],
            ["splits.words=[5]: give the fewest and"],
        ),
        (
            train,
            "train",
            ["trainer.updates=0", "trainer.gradient_clip=no", "trainer.accelerator=tpu"],
            [
                "trainer.updates=0: give a whole number of 1 or more",
                "trainer.gradient_clip=no: give a number of 0 or more",
                "trainer.accelerator=tpu: choose one of cpu, gpu, mps",
            ],
        ),
        (
            train,
            "train",
            ["sparsity=decaying", "sparsity.regrowth=last", "sparsity.scoring_batches=0.5"],
            [
                "sparsity.regrowth=last: choose one of init, zero",
                "sparsity.scoring_batches=0.5: give a whole number of 1 or more",
            ],
        ),
        (
            train,
            "train",
            ["trainer.schedule.warmup=400"],
            ["warmup=400: give a fraction of the updates, below 1"],
        ),
        (
            train,
            "train",
            ["sparsity=decaying", "sparsity.start=half"],
            ["start=half: give a fraction between 0 and 1"],
        ),
        (train, "train", ["sparsity=decaying", "sparsity.cap=0.1"], ["sparsity.cap: "]),
        (
            train,
            "train",
            ["sparsity=decaying", "sparsity.score=snap"],
            ["sparsity.score=snap: choose one of snip, "],
        ),
        (train, "train", ["model.norm=Pre"], ["model.norm=Pre: choose one of pre, post"]),
        (
            train,
            "train",
            ["model.hidden=129"],
            ["model.hidden=129: positions need an even number of channels"],
        ),
        (
            train,
            "train",
            ["model.heads=3"],
            ["128 channels cannot be split into 3 attention heads"],
        ),
        (
            train,
            "train",
            ["samples=1", "vocoder.kind=hifi"],
            ["vocoder.kind=hifi: choose one of hifigan, "],
        ),
        (
            finetune,
            "finetuned",
            ["finetuning.updates=0", "finetuning.batch=some"],
            [
                "finetuning.updates=0: give a whole number of 1 or more; "
                "finetuning.batch=some: give a whole number"
            ],
        ),
        (
            synthesise_run,
            "synthesis",
            ["evaluation.clips_per_set=0"],
            ["evaluation.clips_per_set=0: give a whole number of 1 or more"],
        ),
        (
            synthesise_run,
            "synthesis",
            ["system=vocoded", "vocoder.precision=16"],
            ["vocoder.precision=16: choose one of auto, bf16, 32"],
        ),
        (
            evaluate_run,
            "evaluation",
            ["evaluation.recogniser.beam=0", "evaluation.silence=some"],
            [
                "evaluation.recogniser.beam=0: give a whole number of 1 or more",
                "evaluation.silence=some: give a number of 0 or more",
            ],
        ),
    ],
)
def test_wrong_settings_empty_no_result(prepared, tmp_path, stage, output, overrides, messages):
    here = prepared[:2] if stage is align else prepared  # the others set another aligner
    of_run = stage in (train, synthesise_run, evaluate_run)
    places = [f"paths.run={tmp_path}"] if of_run else [f"paths.{output}={tmp_path}/{output}"]
    earlier = StageFolder(tmp_path / output, "of other settings")
    earlier.begin()
    (earlier.folder / "result").write_text("of hours")
    earlier.finish()
    with pytest.raises(RecipeError) as refusal:
        stage(composed(*here, *overrides, *places))
    assert all(message in str(refusal.value) for message in messages)
    assert (earlier.folder / "result").exists() and earlier.is_complete()
