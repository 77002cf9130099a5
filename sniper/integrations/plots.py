"""Pictures of sparse training, for which matplotlib has to be installed."""

from collections.abc import Sequence
from typing import Any

from sniper.switch import Switch


def plot(record: Sequence[Switch], updates: int | None = None, axes: Any = None) -> Any:
    """Draw the sparsity of each tensor over the updates, and that of all tensors together.

    Args:
        record: `Sniper.record`.
        updates: where the picture ends; by default a tenth of the way after the last switch.
        axes: of matplotlib, to draw into; by default those of a new figure.

    Returns:
        The axes; `axes.figure.savefig("sparsity.png")` writes the picture.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the record is empty.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    if not record:
        raise ValueError("the record is empty: it has an entry once a Sniper is attached")
    if axes is None:
        axes = Figure(figsize=(7, 4), layout="constrained").subplots()
    end = updates or max(1, round(1.1 * record[-1].update))
    times = [*(switch.update for switch in record), end]
    names = list(record[0].tensors)
    colours = colormaps["viridis"].resampled(max(2, len(names)))
    lines = {name: [switch.tensors[name] for switch in record] for name in names}
    for i, (name, values) in enumerate(lines.items()):
        label = name if len(names) <= 12 else None
        heights = [100 * value for value in (*values, values[-1])]
        axes.step(times, heights, where="post", color=colours(i), linewidth=1, label=label)
    heights = [100 * switch.achieved for switch in (*record, record[-1])]
    axes.step(times, heights, where="post", color="black", linewidth=2, label="all")
    axes.set(xlabel="updates", ylabel="sparsity (%)", ylim=(0, 100), xlim=(0, end))
    axes.legend(fontsize="small")
    return axes
