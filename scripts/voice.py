"""Write a trained run as a voice, which speaks on its own: `make voice RUN=... VOICE=...`."""

from pathlib import Path

from pipeline.configuration import hydra_main


def voice(config) -> None:
    """Write the folder `config.voice`, by default `voices/<recipe>`."""
    from speech.voice_folder import write_voice

    folder = Path(config.voice or f"voices/{config.recipe.name}")
    write_voice(config, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB. Speak with it: make say VOICE={folder} TEXT=...")


if __name__ == "__main__":
    hydra_main(voice)
