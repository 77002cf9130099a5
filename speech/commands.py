"""What `make say`, `make export` and `make voice` do."""

from pathlib import Path

from pipeline.errors import RecipeError
from speech.settings import SpeechSettings


def say(config: SpeechSettings) -> None:
    """Speak `say.text` with a voice or a trained run, and write it to `say.output`.

    If `say.prosody` names a file, its phones are spoken instead. `say.dump` names a file for
    the phones that were spoken; see `speech.prosody`.

    Raises:
        RecipeError: the voice is missing, the text cannot be spoken, or the output cannot be
            written.
    """
    # Imported here, after the check of the settings, since torch takes seconds to load.
    import soundfile

    from audio.constants import SAMPLE_RATE
    from pipeline.files import atomic_path
    from speech.prosody import read_prosody, write_prosody
    from speech.voice import configured_voice

    settings = config.say
    speaker = configured_voice(config).speaker(settings.backend)
    factors = (settings.speed, settings.pitch, settings.energy)
    if settings.prosody:
        if factors != (1, 1, 1):
            raise RecipeError(
                "say.speed, say.pitch and say.energy have to be 1 beside say.prosody: edit the file"
            )
        spoken = speaker.speak_given(read_prosody(Path(settings.prosody)))
    else:
        spoken = speaker.synthesise(speaker.phones(settings.text), *factors)
    waveform = speaker.vocode(spoken, settings.speed)
    if settings.dump:
        write_prosody(Path(settings.dump), speaker.prosody(spoken))
    try:
        with atomic_path(settings.output) as temporary:
            soundfile.write(temporary, waveform.numpy(), SAMPLE_RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise RecipeError(f"cannot write say.output={settings.output}: {error}") from None
    print(f"{settings.output}: {len(waveform) / SAMPLE_RATE:.2f} s")


def export(config: SpeechSettings) -> None:
    """Export a voice or a trained run to ONNX, and print how far it is from torch."""
    from speech.export import export_voice
    from speech.voice import configured_voice

    voice = configured_voice(config)
    differences = export_voice(voice)
    largest = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    print(f"{voice.folder}/onnx: largest difference from torch: {largest}")


def make_voice(config: SpeechSettings) -> None:
    """Write a trained run as a voice to the folder `config.voice`, by default in the run's."""
    from speech.voice_folder import write_voice

    folder = Path(config.voice or f"{config.paths.run}/voice")
    write_voice(config, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB. Speak with it: make say VOICE={folder} TEXT=...")
