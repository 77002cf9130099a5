"""Progress of long work: a bar with an estimate on a terminal, elsewhere an occasional line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(
    description: str, total: float, in_bytes: bool = False
) -> Iterator[Callable[[float], None]]:
    """Show progress. The block gets a function, to be called with how much of `total` is done.

    With `in_bytes`, the number of bytes and their rate are shown too.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    if Console().is_terminal:
        columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
        columns += [DownloadColumn(), TransferSpeedColumn()] if in_bytes else []
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task(description, total=total)
            yield lambda done: bar.update(task, completed=done)
        return

    printed = time.monotonic()
    first: tuple[float, float] | None = None

    def show_line(done: float) -> None:
        nonlocal printed, first
        now = time.monotonic()
        # The pace is measured from the first call, which leaves out the time for starting up.
        first = first or (now, done)
        if now - printed >= SECONDS_BETWEEN_LINES and done > first[1]:
            printed = now
            rate = (done - first[1]) / (now - first[0])
            amount = f"{100 * done / total:.0f} %"
            if in_bytes:
                amount += f" of {total / 1e6:.0f} MB at {rate / 1e6:.1f} MB/s"
            print(f"{description}: {amount}, {(total - done) / rate:.0f} s left", flush=True)

    yield show_line
