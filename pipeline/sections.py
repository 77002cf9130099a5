"""The sections of the configuration that concern how stages run."""

from typing import Literal

from pipeline.settings import Count, Fraction, Number, Positive, Section, Text, Whole


class PathSettings(Section):
    """Where stages keep their results."""

    data: Text
    downloads: Text
    corpus: Text
    alignments: Text
    features: Text
    experiment: Text
    results: Text
    listening: Text
    run: Text
    gta_mels: Text
    finetuned: Text


class ParallelSettings(Section):
    """The processes of stage 3 and `make check`."""

    workers: Literal[-1] | Count
    backend: Literal["loky", "ray", "dask"]
    address: Text | None


class RecipeSettings(Section):
    """A recipe's name, source and licence, and its defaults for sparse training."""

    name: Text
    folder: Text
    source: Text | None = None
    licence: Text | None = None
    scoring_batches: Count
    masks: Literal["exact", "paper"] = "exact"
    first_switch: Fraction


class SweepSettings(Section):
    """The overrides of each run, and what `make demo` asks of them at its end."""

    runs: list[list[Text]]
    limits: dict[Text, dict[Text, Number]] = {}
    minutes: dict[Literal["wide", "narrow"], Positive] = {}


class PipelineSettings(Section):
    """The settings that every stage uses. Each room extends the class of the room below it."""

    seed: Whole
    name: Text
    seeds: Count
    jobs: Count | None
    records: Text
    parallel: ParallelSettings
    paths: PathSettings
    recipe: RecipeSettings
    sweep: SweepSettings
