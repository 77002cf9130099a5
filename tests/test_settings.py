"""Wrong settings are told in a line each, all at once, and before an earlier result is emptied."""

import sys

import pytest

from evaluation.application import hydra_main
from finetune_vocoder import finetune_vocoder
from pipeline.stage_folder import StageFolder
from stage2_align import align_stage
from stage3_features import features_stage
from stage4_train import train_stage
from stage5_vocode import vocode_stage
from stage6_evaluate import evaluate_stage

DECAYING = "sparsity=decaying"
OF_TRAINING = {
    "a name": (
        ["trainer.udpates=3"],
        ["trainer.udpates=3: there is no setting of this name; did you mean trainer.updates?"],
    ),
    "a group": (
        ["trianer=cpu"],
        ["trianer=cpu: there is no setting of this name; did you mean trainer?"],
    ),
    "a name without its group": (
        ["val_every=3"],
        ["val_every=3: there is no setting of this name; did you mean trainer.val_every?"],
    ),
    "an option": (
        ["trainer=cpux"],
        ["trainer=cpux: choose one of cpu, ddp, gpu; did you mean cpu?"],
    ),
    "several at once, of the command line and of the sections": (
        ["trainer.udpates=3", "model=tinny", "trainer.accelerator=tpu", "seed=-1"],
        [
            "error: 5 settings are wrong:",
            "  trainer.udpates=3: there is no setting of this name",
            "  model=tinny: choose one of espnet, ming024, tiny; did you mean tiny?",
            "  trainer.accelerator=tpu: choose one of cpu, gpu, mps",
            "  inference.accelerator=tpu: choose one of cpu, gpu, mps",
            "  seed=-1: give a whole number of 0 or more",
        ],
    ),
    "an override that cannot be read": (["trainer.updates=[1"], ["error: trainer.updates=[1: "]),
    "a setting of Hydra": (
        ["hydra.sweep.dri=x"],
        ["hydra.sweep.dri=x: there is no setting of this name"],
    ),
    "a setting to add": (
        ["+model.hiddn=64"],
        ["model.hiddn=64: there is no setting of this name; did you mean hidden?"],
    ),
    "an argument of the Trainer without +": (
        ["trainer.deterministic=true"],
        ["there is no setting of this name; to add it, write +trainer.deterministic=true"],
    ),
    "an argument that the Trainer does not have": (
        ["+trainer.deterministc=true"],
        ["trainer: neither", "has deterministc; did you mean deterministic?"],
    ),
    "an argument of the Trainer that is ours": (
        ["+trainer.max_steps=3"],
        ["trainer: max_steps: set trainer.updates instead"],
    ),
    "a value that the Trainer refuses": (
        ["+trainer.profiler=magic"],
        ["error: Lightning's Trainer refuses its settings: "],
    ),
    "a removed setting": (
        ["~model.heads"],
        ["model.heads: give a whole number of 1 or more, since it has no default"],
    ),
    "out of range": (
        ["trainer.updates=0"],
        ["trainer.updates=0: give a whole number of 1 or more"],
    ),
    "a text for a number": (
        ["trainer.gradient_clip=no"],
        ["trainer.gradient_clip=no: give a number of 0 or more or null"],
    ),
    "half a number": (["samples=0.5"], ["samples=0.5: give a whole number of 0 or more"]),
    "null": (["samples=null"], ["samples=null: give a whole number of 0 or more"]),
    "true for a number": (["seed=true"], ["seed=true: give a whole number of 0 or more"]),
    "a number for true": (
        ["model.phone_position=1"],
        ["model.phone_position=1: give true or false"],
    ),
    "a choice": (
        ["model.norm=Pre"],
        ["model.norm=Pre: choose one of pre, post; did you mean pre?"],
    ),
    "a text for a section": (
        ["trainer.optimizer=adam"],
        ["trainer.optimizer=adam: give a section of settings"],
    ),
    "a kind": (
        ["sparsity.kind=decayng"],
        [
            "sparsity.kind=decayng: choose one of dense, constant, decaying, rising, gradual, ",
            "alternating; did you mean decaying?",
        ],
    ),
    "what has to be given": (
        ["vocoder=hifigan_folder"],
        ["vocoder.folder: give a value, since it has no default"],
    ),
    "an interpolation": (["model.heads=${nothing}"], ["model.heads: Interpolation key 'nothing'"]),
    "a fraction": (
        [DECAYING, "sparsity.start=40"],
        ["sparsity.start=40: give a number above 0 and below 1"],
    ),
    "two that exclude each other": (
        [DECAYING, "sparsity.allocation=erk", "sparsity.masks=paper"],
        ["sparsity: allocation=erk needs redistribute=true, masks=exact, compat=null"],
    ),
    "a cap": ([DECAYING, "sparsity.cap=0.1"], ["error: sparsity.cap: "]),
    "a pattern": ([DECAYING, "sparsity.include=[decodr.*]"], ["error: sparsity.include or"]),
    "an optimizer": (
        ["trainer.optimizer._target_=torch.optim.Adamw"],
        ["trainer.optimizer._target_=torch.optim.Adamw: ", "Adamw"],
    ),
    "an argument of the optimizer": (
        ["+trainer.optimizer.momentum=0.9"],
        ["trainer.optimizer._target_=torch.optim.AdamW: ", "momentum"],
    ),
    "a warm-up": (
        ["trainer.schedule.warmup=400"],
        ["trainer.schedule._target_=", "warmup=400: give a fraction of the updates, below 1"],
    ),
    "channels": (["model.hidden=129"], ["model.hidden=129: positions need an even number of"]),
    "heads": (["model.heads=3"], ["128 channels cannot be split into 3 attention heads"]),
    "batches of one": (
        ["trainer.frames_per_batch=10"],
        ["trainer.frames_per_batch=10: the longest utterance has "],
    ),
    "no GPU": (["trainer=gpu"], ["accelerator=gpu: PyTorch finds no such device on this machine"]),
}
OF_OTHERS = [
    (
        align_stage,
        "alignments",
        ["aligner=viter", "aligner.training_minutes=0", "aligner.seed=first"],
        [
            "aligner.training_minutes=0: give a number of 0.1 or more",
            "aligner.seed=first: give a whole number of 0 or more",
        ],
    ),
    (
        features_stage,
        "features",
        ["features.f0.floor=900", "splits.words=[5]", "check.leave_out=[sound]"],
        [
            "features.f0: floor=900 is not below its ceiling, 800",
            "splits.words=[5]: give a list of 2, each a whole number of 0 or more",
            "check.leave_out.0=sound: choose one of ",
        ],
    ),
    (
        finetune_vocoder,
        "finetuned",
        ["finetuning.updates=0", "finetuning.batch=some"],
        [
            "finetuning.updates=0: give a whole number of 1 or more",
            "finetuning.batch=some: give a whole number of 1 or more",
        ],
    ),
    (finetune_vocoder, "finetuned", ["finetuning.accelerator=gpu"], ["finds no such device"]),
    (
        vocode_stage,
        "synthesis",
        ["system=vocoded", "vocoder.precision=16"],
        ["vocoder.precision=16: choose one of auto, bf16, 32"],
    ),
    (
        vocode_stage,
        "synthesis",
        ["system=vocoded", "inference.accelerator=gpu"],
        ["no such device"],
    ),
    (
        evaluate_stage,
        "evaluation",
        ["evaluation.recogniser.beam=0", "evaluation.silence=some"],
        [
            "evaluation.recogniser.beam=0: give a whole number of 1 or more",
            "evaluation.silence=some: give a number of 0 or more",
        ],
    ),
]


@pytest.mark.parametrize(
    ("stage", "output", "overrides", "messages"),
    [
        *(pytest.param(train_stage, "train", *case, id=id) for id, case in OF_TRAINING.items()),
        *OF_OTHERS,
    ],
)
def test_wrong_settings_empty_no_result(
    prepared, tmp_path, monkeypatch, capsys, stage, output, overrides, messages
):
    of_run = output in ("train", "synthesis", "evaluation")
    places = [f"paths.run={tmp_path}"] if of_run else [f"paths.{output}={tmp_path}/{output}"]
    here = [each for each in prepared if not (stage is align_stage and each.startswith("aligner"))]
    earlier = StageFolder(tmp_path / output, "of other settings")
    earlier.begin()
    (earlier.folder / "result").write_text("of hours")
    earlier.finish()
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # is set by the application
    monkeypatch.setattr(sys, "argv", ["script", *here, *places, *overrides])
    with pytest.raises(SystemExit) as end:
        hydra_main(stage)
    told = capsys.readouterr().err
    assert end.value.code == 1 and told.startswith("error: ") and "HYDRA_FULL_ERROR" not in told
    assert [message for message in messages if message not in told] == [], told
    assert (earlier.folder / "result").exists() and earlier.is_complete()
