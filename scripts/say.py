"""Speak a text with a trained run or a voice: `make say TEXT="..." RUN=... SPEED= BACKEND= ...`."""

from pipeline.configuration import hydra_main


def say(config) -> None:
    """Write `config.text` to the audio file `config.output`."""
    from pipeline.settings import check_settings
    from speech.settings import SAY_SETTINGS

    check_settings(config, SAY_SETTINGS)
    import soundfile

    from audio.constants import SAMPLE_RATE
    from pipeline.errors import RecipeError
    from pipeline.files import atomic_path
    from speech.voice import configured_voice

    speaker = configured_voice(config).speaker(config.backend)
    waveform = speaker(config.text, config.speed, config.pitch, config.energy)
    try:
        with atomic_path(config.output) as temporary:
            soundfile.write(temporary, waveform.numpy(), SAMPLE_RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise RecipeError(f"cannot write output={config.output}: {error}") from None
    print(f"{config.output}: {len(waveform) / SAMPLE_RATE:.2f} s")


if __name__ == "__main__":
    hydra_main(say)
