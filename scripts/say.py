"""Speak a sentence with a trained run: `make say TEXT="..." RUN=... SPEED= PITCH= ENERGY=`."""

from pathlib import Path

from common import stage_script


def say(config) -> None:
    """Write `config.output`, a wav, from `config.text`; factors act on their own quantity."""
    import soundfile

    from fastspeech2.synthesis import load_synthesiser
    from hifigan import load_vocoder
    from preprocessing.artefacts import atomic_path
    from preprocessing.corpus import SAMPLE_RATE
    from preprocessing.text import Pronouncer, read_lexicon

    synthesiser = load_synthesiser(config.paths.run)
    lexicon = read_lexicon(Path(config.paths.alignments) / "lexicon.txt")
    phones = Pronouncer(lexicon, synthesiser.index).phones(config.text)
    spoken = synthesiser.synthesise([phones], config.speed, config.pitch, config.energy)[0]
    waveform = load_vocoder(config.vocoder)([spoken.mel])[0]
    with atomic_path(config.output) as temporary:
        soundfile.write(temporary, waveform.numpy(), SAMPLE_RATE, subtype="PCM_16")
    print(f"{config.output}: {len(waveform) / SAMPLE_RATE:.2f} s")


main = stage_script(say)

if __name__ == "__main__":
    main()
