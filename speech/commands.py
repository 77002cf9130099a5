"""What `make say`, `make export` and `make voice` do."""

from pathlib import Path

from omegaconf import DictConfig

from pipeline.errors import RecipeError
from pipeline.settings import check_settings
from speech.settings import SAY_SETTINGS


def say(config: DictConfig) -> None:
    """Speak `config.text` with a voice or a trained run, and write it to `config.output`.

    If `config.prosody` names a file, its phones are spoken instead. `config.dump` names a file for
    the phones that were spoken; see `speech.prosody`.

    Raises:
        RecipeError: a setting is wrong, the voice is missing, the text cannot be spoken, or the
            output cannot be written.
    """
    check_settings(config, SAY_SETTINGS)
    # Imported after the check, since torch takes seconds to load.
    import soundfile

    from audio.constants import SAMPLE_RATE
    from pipeline.files import atomic_path
    from speech.prosody import read_prosody, write_prosody
    from speech.voice import configured_voice

    speaker = configured_voice(config).speaker(config.backend)
    factors = (config.speed, config.pitch, config.energy)
    if config.prosody:
        if factors != (1, 1, 1):
            raise RecipeError("speed, pitch and energy have to be 1 beside prosody=: edit the file")
        spoken = speaker.speak_given(read_prosody(Path(config.prosody)))
    else:
        spoken = speaker.synthesise(speaker.phones(config.text), *factors)
    waveform = speaker.vocode(spoken, config.speed)
    if config.dump:
        write_prosody(Path(config.dump), speaker.prosody(spoken))
    try:
        with atomic_path(config.output) as temporary:
            soundfile.write(temporary, waveform.numpy(), SAMPLE_RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise RecipeError(f"cannot write output={config.output}: {error}") from None
    print(f"{config.output}: {len(waveform) / SAMPLE_RATE:.2f} s")


def export(config: DictConfig) -> None:
    """Export a voice or a trained run to ONNX, and print how far it is from torch."""
    from speech.export import export_voice
    from speech.voice import configured_voice

    voice = configured_voice(config)
    differences = export_voice(voice)
    largest = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{voice.folder}/onnx: largest difference from torch: {largest}")


def make_voice(config: DictConfig) -> None:
    """Write a trained run as a voice to the folder `config.voice`, by default in the run's."""
    from speech.voice_folder import write_voice

    folder = Path(config.voice or f"{config.paths.run}/voice")
    write_voice(config, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB. Speak with it: make say VOICE={folder} TEXT=...")
