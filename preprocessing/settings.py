"""The sections of the configuration from the corpus to the features."""

from typing import Annotated, Literal

from pydantic import Field

from audio.constants import MEL_KINDS
from audio.settings import F0Settings
from pipeline.sections import PipelineSettings
from pipeline.settings import (
    AsGiven,
    Count,
    NonNegative,
    Positive,
    Range,
    Section,
    Text,
    Whole,
    added,
)
from preprocessing.faults import KINDS


class ArchiveSettings(Section):
    """A file to download."""

    url: Text
    sha256: Text | None
    mirrors: list[Text] = []


class PackageSettings(Section):
    """One of Debian's packages."""

    name: Text
    version: Text
    sha256: Text


class AsteriskSource(Section):
    """Where the prompts come from."""

    packages: list[PackageSettings]
    archive: ArchiveSettings
    contents_sha256: Text


class FestvoxSource(Section):
    """Debian's package of a Festival voice."""

    packages: list[PackageSettings]
    archive: ArchiveSettings | None = None
    contents_sha256: Text


class LJSpeechSource(Section):
    """A folder, or an archive to download."""

    folder: Text | None = None
    clips: Count | None = None
    archive: ArchiveSettings | None = None


class TableSource(Section):
    """A CSV table with a header line."""

    table: Text
    delimiter: Text
    path: Text
    text: Text
    folder: Text
    quoting: Literal["minimal", "none"] = "minimal"


class FolderSource(Section):
    """A text file for each recording."""

    folder: Text
    recordings: Text
    texts: Text


class ScreeningSettings(Section):
    """Which recordings cannot be what their texts say."""

    lowest_rms: NonNegative
    characters_per_second: Range
    phone_seconds: Range
    short_phones: NonNegative
    sound_outside: NonNegative


class LanguageSettings(Section):
    """How texts become phones in a language other than English."""

    normaliser: Text | None = None
    lexicon: Text
    phones: list[Text] | None = None
    rules: Text | None = None
    phonology: Text | None = None


class CorpusSettings(Section):
    """What corpora of every layout have in common."""

    name: Text
    only: list[Text] | None
    screening: ScreeningSettings
    corrections: dict[str, Text]
    max_seconds: Positive | None
    language: LanguageSettings | None = added(None)


class AsteriskCorpus(CorpusSettings):
    """The prompts of the Asterisk telephone exchange."""

    layout: Literal["asterisk"]
    source: AsteriskSource


class FestvoxCorpus(CorpusSettings):
    """The recordings behind a Festival voice."""

    layout: Literal["festvox"]
    source: FestvoxSource


class LJSpeechCorpus(CorpusSettings):
    """LJSpeech, or a corpus in its layout."""

    layout: Literal["ljspeech"]
    source: LJSpeechSource


class TableCorpus(CorpusSettings):
    """Recordings that a table lists."""

    layout: Literal["table"]
    source: TableSource


class FolderCorpus(CorpusSettings):
    """Recordings that each have a text file."""

    layout: Literal["folders"]
    source: FolderSource


class ViterSettings(Section):
    """aligner=viter."""

    name: Literal["viter"]
    training_minutes: Annotated[float, Field(ge=0.1), AsGiven] | None
    triphones: bool
    seed: Whole


class MFASettings(Section):
    """aligner=mfa."""

    name: Literal["mfa"]
    acoustic_model: Text
    sha256: Text | None = None
    jobs: Count


class TextGridSettings(Section):
    """aligner=textgrid."""

    name: Literal["textgrid"]
    source: Text


class LastSplits(Section):
    """The last utterances are held out."""

    name: Text
    kind: Literal["last"]
    test: Count
    validation: Count


class RandomSplits(Section):
    """Held-out utterances are drawn."""

    name: Text
    kind: Literal["random"]
    test: Count
    validation: Count
    seed: Whole


class DistinctSplits(Section):
    """Held-out sentences without a near copy are drawn."""

    name: Text
    kind: Literal["distinct"]
    test: Count
    validation: Count
    words: Annotated[list[Whole], Field(min_length=2, max_length=2)]
    highest_similarity: NonNegative
    seed: Whole


class ListedSplits(Section):
    """Held-out utterances by the beginnings of their ids."""

    name: Text
    kind: Literal["listed"]
    test: list[Text]
    validation: list[Text]


class FileSplits(Section):
    """Held-out utterances in a file."""

    name: Text
    kind: Literal["file"]
    held_out: Text
    test: Count


class FeatureSettings(Section):
    """How features are extracted."""

    name: Text
    f0: F0Settings
    shortest_pause: NonNegative
    max_seconds: Positive | None
    mel: Literal[*MEL_KINDS] = added("hifigan")  # type: ignore[valid-type]
    espnet: bool = added(False)


class CheckSettings(Section):
    """Which faults of a corpus are looked for, and which utterances may be left out."""

    leave_out: list[Literal[*KINDS]]  # type: ignore[valid-type]
    seconds: Range
    longest_pause: NonNegative


Corpus = AsteriskCorpus | FestvoxCorpus | LJSpeechCorpus | TableCorpus | FolderCorpus
Aligner = ViterSettings | MFASettings | TextGridSettings
Splits = LastSplits | RandomSplits | DistinctSplits | ListedSplits | FileSplits


class PreprocessingSettings(PipelineSettings):
    """The settings of stages 1 to 3."""

    corpus: Annotated[Corpus, Field(discriminator="layout")]
    aligner: Annotated[Aligner, Field(discriminator="name")]
    splits: Annotated[Splits, Field(discriminator="kind")]
    features: FeatureSettings
    check: CheckSettings
