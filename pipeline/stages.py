"""The graph of the recipe: each stage's folder, what its result depends on, and what it needs.

The table is at the end. A result is known by the fingerprint of everything that it depends on.
Files take part with their contents, not with their paths or times, so that two machines agree.
Every script imports this module, so its imports have to stay light.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.digests import file_digests, fingerprint
from pipeline.errors import RecipeError
from pipeline.files import read_json, read_utf8
from pipeline.settings import Section
from pipeline.stage_folder import StageFolder
from pipeline.vocoder_files import PACKAGE, generators
from pipeline.weight_files import weight_files

Config = Any
"""The settings of a room that knows the sections which are asked for."""
Work = Callable[[Config], None]


@dataclass(frozen=True)
class Stage:
    """One node of the graph.

    Args:
        name: what messages call it.
        command: how a user runs it.
        folder: where its result is, with names of the configuration in braces.
        inputs: gives everything that the result depends on, in the order in which it is hashed.
        needs: gives the stages that have to be complete before this one.
        twins: gives folders in which other runs may have the same result already. It is copied
            from there.
    """

    name: str
    command: str
    folder: str
    inputs: Callable[..., Iterable]
    needs: Callable[[Config], list["Stage"]] = lambda config: []
    twins: Callable[[Config], Iterable[Path]] = lambda config: []

    def fingerprint(self, config: Config, *found) -> str:
        """The digest of all inputs.

        Args:
            found: inputs that are not in the configuration, for a stage that has such.
        """
        return fingerprint(*self.inputs(config, *found))

    def output(self, config: Config, *found) -> StageFolder:
        """The folder of the result; for `found` see `fingerprint`."""
        return StageFolder(self.folder.format(**dict(config)), self.fingerprint(config, *found))

    def is_up_to_date(self, config: Config, *found) -> bool:
        """Whether nothing is left to do, which is printed; for `found` see `fingerprint`."""
        output = self.output(config, *found)
        if output.is_complete():
            print(f"{self.name}: {output.folder} is up to date")
        return output.is_complete()

    def copy_twin(self, config: Config) -> bool:
        """Copy the same result from another run, if one has it, and print from which."""
        output = self.output(config)
        for folder in self.twins(config):
            if StageFolder(folder, output.fingerprint).is_complete():
                output.take_over(folder)
                print(f"{self.name}: {output.folder} is a copy of {folder}")
                return True
        return False


def runs(stage: Stage) -> Callable[[Work], Work]:
    """Decorator of the function that does a stage's work: call it only where that is necessary.

    The decorated function raises `RecipeError`, which names the command to run first, if a stage
    that this one needs is not complete.
    """

    def decorate(work: Work) -> Work:
        @functools.wraps(work)
        def run(config: Config) -> None:
            if stage.is_up_to_date(config) or stage.copy_twin(config):
                return
            for earlier in stage.needs(config):
                earlier.output(config).require(earlier.command)
            work(config)

        return run

    return decorate


def _corpus(config: Config) -> Iterable:
    """All settings of the corpus but what stage 3 applies, its texts and its lexicon.

    Recordings on disk do not take part, since they are too large to be read by every stage.
    """
    settings = _without(config.corpus, "max_seconds")
    language, lexicon = settings.get("language"), None
    if language and _is_made_by_stage_1(config, language["lexicon"]):
        settings["language"] = _without(config.corpus.language, "lexicon", "rules")
    elif language:
        lexicon = [_list_file(language["lexicon"])]
    yield settings
    source = config.corpus.source
    if texts := _texts(source):
        yield file_digests(texts, Path(source.folder or ""))
    yield from lexicon or []


def _is_made_by_stage_1(config: Config, path: str) -> bool:
    """Whether stage 1 makes this file or folder of the corpus's package.

    The package's digest is among the settings, and what is made of it is not there before.
    """
    downloads = Path(config.paths.downloads)
    return config.corpus.layout == "festvox" and Path(path).is_relative_to(downloads)


def _alignments(config: Config) -> Iterable:
    """The corpus and the aligner. TextGrids from elsewhere take part with their contents."""
    yield CORPUS.fingerprint(config)
    yield _without(config.aligner, "jobs", "source")
    source = getattr(config.aligner, "source", None)
    yield _text_grids(Path(source)) if source and not _is_made_by_stage_1(config, source) else None


def _features(config: Config) -> Iterable:
    """What was left out does not take part: training looks at that itself."""
    yield ALIGNMENTS.fingerprint(config)
    yield config.features
    yield _without(config.splits, "held_out")
    yield _list_file(getattr(config.splits, "held_out", None))
    yield _without(config.check, "leave_out")


def _trainer(config: Config) -> dict:
    """The trainer's settings, with the contents of the checkpoint that a training starts from."""
    section = _without(config.trainer, "workers")  # they only make the same batches sooner
    if location := section.get("init_from"):
        weights, settings = weight_files(Path(location))
        section["init_from"] = file_digests([weights, *settings], weights.parent)
    return section


def _training(config: Config) -> Iterable:
    yield FEATURES.fingerprint(config)
    yield from (config.model, config.sparsity, _trainer(config), config.selection)
    # The vocoder is used only to measure mel-cepstral distortion.
    yield from vocoder_inputs(config.vocoder) if config.selection.criterion == "mcd" else [None]
    yield config.seed
    yield config.kernels


def training_context(config: Config) -> str:
    """The digest of everything that a training depends on but its sparsity and seed.

    Only runs with the same context are compared.
    """
    settings = (config.model, _trainer(config), config.selection, config.kernels)
    return fingerprint(FEATURES.fingerprint(config), *settings)


def _synthesis(config: Config) -> Iterable:
    """The trained model or voice, and the sentences; for the reference rows only the recordings."""
    yield config.system
    if config.system == "model":
        if config.voice:  # voice.json has the digests of the voice's other files
            yield file_digests([Path(config.voice) / "voice.json"], Path(config.voice))
        else:
            yield TRAINING.fingerprint(config)
        yield other_sentences(config.evaluation.sentences)
    else:
        yield FEATURES.fingerprint(config)
    yield from vocoder_inputs(config.vocoder)
    yield config.evaluation.clips_per_set


def _evaluation(config: Config) -> Iterable:
    yield SYNTHESIS.fingerprint(config)
    yield config.evaluation


def _report(config: Config, *found) -> Iterable:
    """The runs, the paper's values and the listeners' answers; the page shows the whole config."""
    yield from found
    yield config


def _finetuning(config: Config) -> Iterable:
    """The vocoder, settings and seed, and the corpus or the mels that a model predicted of it."""
    settings = _without(config.finetuning, "mels", "accelerator", "threads")
    yield settings
    yield [getattr(config.vocoder, name, None) for name in ("checkpoint", "config", "sha256")]
    if mels := config.finetuning.mels:
        # Mels that did not come from `make gta-mels` are known by their folder's name alone.
        stage = Path(mels) / "stage.json"
        yield read_json(stage)["fingerprint"] if stage.exists() else mels
    else:
        yield FEATURES.fingerprint(config)
    yield config.seed
    yield from vocoder_inputs(config.vocoder)[1:]


def vocoder_inputs(vocoder: Section) -> list:
    """The section, and the contents of weights that are files of the user's."""
    checkpoint = getattr(vocoder, "checkpoint", PACKAGE)
    if checkpoint.startswith(PACKAGE):
        return [vocoder]
    path = Path(checkpoint)
    weights, base = (generators(path), path) if path.is_dir() else ([path], path.parent)
    return [vocoder, file_digests([*weights, Path(vocoder.config)], base)]


def other_sentences(path: str | None) -> str:
    """The text of `evaluation.sentences`, one sentence a line; empty where it is null.

    Raises:
        RecipeError: the file does not exist or is not UTF-8.
    """
    if path is None:
        return ""
    try:
        return read_utf8(path)
    except FileNotFoundError:
        raise RecipeError(
            f"{path} does not exist: write sentences of other domains into it, one a line, or set "
            "evaluation.sentences=null to evaluate held-out clips alone"
        ) from None


def _without(section: Section, *keys: str) -> dict:
    return {key: value for key, value in section.plain().items() if key not in keys}


def _texts(source: Section) -> list[Path]:
    """The files in which a corpus on disk has its texts, as conf/corpus/ names them."""
    folder = getattr(source, "folder", None)
    if table := getattr(source, "table", None):
        return [Path(table)]
    if texts := getattr(source, "texts", None):
        return sorted(Path(folder).glob(texts.replace("{id}", "*")))
    return [Path(folder) / "metadata.csv"] if folder else []


def _list_file(path: str | None) -> str | None:
    return read_utf8(path) if path and Path(path).exists() else None


def _text_grids(source: Path) -> list:
    """All TextGrids under a folder, or one file."""
    if source.is_dir():
        inside = (path for path in source.rglob("*") if path.suffix.lower() == ".textgrid")
        return file_digests(inside, source)
    return file_digests([source], source.parent)


def speaks_with_own_training(config: Config) -> bool:
    """Whether stage 5 uses the run's own model, rather than recordings or a finished voice."""
    return config.system == "model" and not config.voice


def _other_trainings(config: Config) -> list[Path]:
    """Trainings of other runs. With several processes each would copy, so they train instead."""
    if config.trainer.devices != 1:
        return []
    return sorted(Path(config.paths.experiment).glob("*/train"))


CORPUS = Stage(
    name="stage 1",
    command="make stage1",
    folder="{paths.corpus}",
    inputs=_corpus,
)
ALIGNMENTS = Stage(
    name="stage 2",
    command="make stage2",
    folder="{paths.alignments}",
    inputs=_alignments,
    needs=lambda config: [CORPUS],
)
FEATURES = Stage(
    name="stage 3",
    command="make stage3",
    folder="{paths.features}",
    inputs=_features,
    needs=lambda config: [ALIGNMENTS],
)
TRAINING = Stage(
    name="stage 4",
    command="make stage4",
    folder="{paths.run}/train",
    inputs=_training,
    needs=lambda config: [FEATURES],
    twins=_other_trainings,
)
SYNTHESIS = Stage(
    name="stage 5",
    command="make stage5",
    folder="{paths.run}/synthesis",
    inputs=_synthesis,
    needs=lambda config: [FEATURES, TRAINING] if speaks_with_own_training(config) else [FEATURES],
)
EVALUATION = Stage(
    name="stage 6",
    command="make stage6",
    folder="{paths.run}/evaluation",
    inputs=_evaluation,
    needs=lambda config: [SYNTHESIS],
)
REPORT = Stage(
    name="stage 7",
    command="make stage7",
    folder="{paths.results}",
    inputs=_report,
)
FINETUNING = Stage(
    name="fine-tuning",
    command="make finetune",
    folder="{paths.finetuned}",
    inputs=_finetuning,
    needs=lambda config: [] if config.finetuning.mels else [FEATURES],
)
