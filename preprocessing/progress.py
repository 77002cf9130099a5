"""How far long work has come: a bar with an estimate on a terminal, else an occasional line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(description: str, total: float) -> Iterator[Callable[[float], None]]:
    """Show progress; the block calls what it is given with how much is done, out of `total`."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    if Console().is_terminal:
        columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task(description, total=total)
            yield lambda done: bar.update(task, completed=done)
        return

    printed = time.monotonic()
    first: tuple[float, float] | None = None

    def show_line(done: float) -> None:
        nonlocal printed, first
        now = time.monotonic()
        # Counted from the first sign of work, since starting up says nothing of its pace.
        first = first or (now, done)
        if now - printed >= SECONDS_BETWEEN_LINES and done > first[1]:
            printed = now
            left = (now - first[0]) * (total - done) / (done - first[1])
            print(f"{description}: {100 * done / total:.0f} %, {left:.0f} s left", flush=True)

    yield show_line
