"""The wheel of the whole repository, installed outside the checkout."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import soundfile
from conftest import PROJECT


def test_every_package_is_in_the_wheel():
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    tracked = subprocess.run(
        ["git", "ls-files", "*/__init__.py"], cwd=PROJECT, capture_output=True, text=True
    ).stdout.split()
    packages = {str(Path(path).parent).replace("/", ".") for path in tracked}
    packages = {each for each in packages if not each.startswith("tests")}
    assert {each for each in listed if not each.startswith("sniper_tts")} == packages
    rooms = {each for each in packages if "." not in each}
    assert all((PROJECT / room / "py.typed").exists() for room in rooms)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the wheel's contents, made from a copy of the checkout without git."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in tracked:
        if not name.startswith("tests/") and (PROJECT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, folder / "source" / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, folder / "source"],
        check=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def run_installed(installed: Path, code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python with the wheel in front of everything else, in a folder without a checkout."""
    (installed.parent / "elsewhere").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=installed.parent / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


SCRIPT = "from pipeline.command_line import main; main()"


def test_the_command_lists_its_scripts(installed):
    told = run_installed(installed, SCRIPT)
    assert told.returncode == 0 and "stage4 " in told.stdout and "say " in told.stdout
    told = run_installed(installed, SCRIPT, "sing")
    assert told.returncode == 1 and "error: there is no command 'sing'" in told.stderr


def test_an_installed_voice_speaks(installed):
    told = run_installed(
        installed, SCRIPT, "say", "say.text=Good morning.", "say.output=out.wav", "voice=allison"
    )
    assert told.returncode == 0, told.stderr
    waveform, rate = soundfile.read(installed.parent / "elsewhere" / "out.wav")
    assert rate == 22050 and 0.4 < len(waveform) / rate < 4 and abs(waveform).max() > 0.05


def test_templates_are_installed(installed):
    told = run_installed(
        installed,
        "import evaluation.listening.build as b, evaluation.report.page as p\n"
        "print(b.__file__, (b.PAGE / 'index.html.j2').exists(), (p.WEB / 'report.css').exists())",
    )
    assert told.stdout.split() == [f"{installed}/evaluation/listening/build.py", "True", "True"]
