"""A voice: a trained model with everything that it needs to speak.

A voice is either a trained run, which takes its lexicon from `data/`, or a folder that `make voice`
wrote and that needs neither `data/` nor `exp/`:

    voice.json     licence, vocoder, language, training, and digests of the other files
    model.pt       the weights, in half precision, with symbols and statistics
    lexicon.txt    pronunciations of the corpus's words
    language.txt   the dictionary of a language other than English
    rules.txt      its letter-to-sound rules, if it has such
    vocoder/       the vocoder, if it is not the one of an installed package
    README.md      a model card
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fastspeech2.synthesis.synthesiser import Synthesiser, load_synthesiser
from hifigan.settings import Vocoder
from hifigan.vocoder import load_vocoder
from pipeline.configuration import RESOURCES
from pipeline.digests import sha256
from pipeline.errors import RecipeError
from pipeline.files import read_json
from pipeline.settings import checked, section_of
from preprocessing.settings import LanguageSettings
from preprocessing.text.language import corpus_language
from preprocessing.text.lexicon import read_lexicon
from preprocessing.text.pronouncer import Pronouncer
from speech.settings import SpeechSettings
from speech.speaker import Speaker

LANGUAGE_FILES = {"lexicon": "language.txt", "rules": "rules.txt"}
"""Settings of a corpus's language that name files, and the names of these files in a voice."""
UNIVERSAL = RESOURCES / "conf" / "vocoder" / "hifigan_universal.yaml"


@dataclass(frozen=True)
class Voice:
    """The files and settings of a voice, which are read when they are needed."""

    folder: Path
    """the folder of the voice or of the run; `make export` writes `onnx/` into it"""
    weights: Path
    """model.pt, as training writes it"""
    lexicon: Path
    """pronunciations that take precedence over the language's dictionary"""
    language: LanguageSettings | None
    """the section `language` of a corpus, None for English"""
    vocoder: Vocoder
    """a node of conf/vocoder/"""

    def synthesiser(self, device: str = "cpu") -> Synthesiser:
        """Load the acoustic model, from phones to mels."""
        return load_synthesiser(self.weights, device)

    def pronouncer(self, synthesiser: Synthesiser) -> Pronouncer:
        """Load what turns texts into phones that this synthesiser knows."""
        if not self.lexicon.exists():
            raise RecipeError(
                f"{self.lexicon} does not exist: run `make stage2`, or choose a voice that "
                "`make voice` wrote"
            )
        language = corpus_language(self.language)
        return Pronouncer(read_lexicon(self.lexicon), synthesiser.index, language)

    def speaker(self, backend: str = "torch") -> Speaker:
        """Load everything that is needed to speak texts.

        Args:
            backend: `torch`, or `onnx` after `make export`.

        Raises:
            RecipeError: the backend is unknown, a file is missing, or the export is missing or
                outdated.
        """
        if backend not in ("torch", "onnx"):
            raise RecipeError(f"backend={backend}: choose one of torch, onnx")
        if backend == "torch":
            synthesiser, vocoder = self.synthesiser(), load_vocoder(self.vocoder)
        else:
            from speech.onnx_models import load_onnx

            synthesiser, vocoder = load_onnx(self.folder, self.weights, self.vocoder.name)
        return Speaker(synthesiser, vocoder, self.pronouncer(synthesiser))


def load_voice(folder: Path | str, vocoder: Vocoder | Mapping | None = None) -> Voice:
    """Open a folder that `make voice` wrote, and check that its files are complete.

    A checkpoint `*.pth` of ESPnet's FastSpeech2 with its config.yaml beside it, or the folder of
    both, is a voice too.

    Args:
        folder: of the voice.
        vocoder: of an ESPnet voice, settings as in conf/vocoder/; by default hifigan_universal.

    Raises:
        RecipeError: the folder holds no voice, or a file is missing or differs from its digest.
    """
    from speech.espnet_voice import espnet_voice

    folder = Path(folder)
    vocoder = vocoder or yaml.safe_load(UNIVERSAL.read_text("utf-8"))
    if found := espnet_voice(folder, section_of(Vocoder, vocoder)):
        return found
    if not (folder / "voice.json").exists():
        raise RecipeError(f"{folder} holds no voice: it has no voice.json")
    index = read_json(folder / "voice.json")
    for name, digest in index["sha256"].items():
        if not (folder / name).exists() or sha256(folder / name) != digest:
            problem = "differs from its digest" if (folder / name).exists() else "does not exist"
            raise RecipeError(f"the voice {folder} is damaged: {name} {problem}. Get it again")
    given, language = index["vocoder"], index["language"]
    if (folder / "vocoder").exists():
        given |= {name: str(folder / given[name]) for name in ("checkpoint", "config")}
    if language:
        files = {n: str(folder / language[n]) for n in LANGUAGE_FILES if language.get(n)}
        language = checked(LanguageSettings, language | files)
    vocoder = checked(Vocoder, given)
    return Voice(folder, folder / "model.pt", folder / "lexicon.txt", language, vocoder)


def configured_voice(config: SpeechSettings) -> Voice:
    """The voice `config.voice`, or the run of this configuration if that is empty.

    A voice is given by its folder, or by its name if it comes with this package.
    """
    if config.voice:
        packaged = RESOURCES / "voices" / config.voice
        return load_voice(packaged if packaged.exists() else config.voice, config.vocoder)
    run = Path(config.paths.run)
    return Voice(
        folder=run,
        weights=run / "train" / "model.pt",
        lexicon=Path(config.paths.alignments) / "lexicon.txt",
        language=config.corpus.language,
        vocoder=config.vocoder,
    )
