"""A live table of the sweeps of a recipe, until they end or Ctrl-C."""

import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from pipeline.entry_point import stage_script
from pipeline.errors import RecipeError
from pipeline.sweep_state import RunState, read_state, table


def sweeps(experiment: Path) -> dict[str, list[RunState]]:
    """The runs of each sweep that was ever started, by its name.

    Raises:
        RecipeError: there was none.
    """
    found = {path.name.split(".")[0]: read_state(path) for path in experiment.glob("*.sweep.json")}
    if not found:
        raise RecipeError(f"no sweep in {experiment}: start one with `make sweep`")
    return dict(sorted(found.items()))


def show_status(config) -> None:
    experiment, console = Path(config.paths.experiment), Console()

    def tables() -> Group:
        return Group(*(table(runs, f"sweep {name}") for name, runs in sweeps(experiment).items()))

    if not console.is_terminal:
        console.print(tables())
        return
    with Live(tables(), console=console, auto_refresh=False) as live:
        try:
            while any(r.state == "running" for runs in sweeps(experiment).values() for r in runs):
                live.update(tables(), refresh=True)
                time.sleep(1)
        except KeyboardInterrupt:
            return
        live.update(tables(), refresh=True)


main = stage_script(show_status)

if __name__ == "__main__":
    main()
