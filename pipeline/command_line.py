"""The command `sniper-tts`: runs a script of the recipe, wherever the package is installed."""

import ast
import runpy
import sys

from pipeline.configuration import RESOURCES

SCRIPTS = RESOURCES / "scripts"


def main() -> None:
    """Run `sniper-tts <command> <settings>`, such as `sniper-tts say say.text="Hello."`.

    A command is the name of a script, or `stage1` to `stage7`. The settings are Hydra's overrides.
    """
    commands = {
        path.stem.split("_")[0] if path.stem.startswith("stage") else path.stem: path
        for path in sorted(SCRIPTS.glob("*.py"))
    }
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in commands:
        print("usage: sniper-tts <command> <settings>\n\ncommands:")
        for command, path in commands.items():
            meaning = ast.get_docstring(ast.parse(path.read_text("utf-8"))).splitlines()[0]
            print(f"  {command:16} {meaning}")
        sys.exit(0 if name in ("", "-h", "--help") else f"\nerror: there is no command {name!r}")
    script = commands[name]
    sys.argv = [str(script), *sys.argv[2:]]
    sys.path.insert(0, str(SCRIPTS))  # run.py imports other scripts by their names
    runpy.run_path(str(script), run_name="__main__")
