"""Learning curves, one panel a metric."""

from collections.abc import Mapping, Sequence

from titrant.runtime.plots.svg import color, panel, svg_text

ROLES = ("accent", "second", "ink", "other")


def curves(
    title: str, series: Mapping[str, Sequence[float]], best_epoch: int | None = None, name: str = "curve"
) -> str:
    """Draw one number an epoch for each series, counted from 1; `best_epoch` is marked by a line."""
    from matplotlib.ticker import MaxNLocator

    with panel(title) as (figure, axes):
        for index, (label, values) in enumerate(series.items()):
            epochs = range(1, len(values) + 1)
            marker = "o" if len(values) < 3 else ""
            axes.plot(epochs, values, label=label, linewidth=1.8, marker=marker, color=color(ROLES[index % len(ROLES)]))
        if best_epoch is not None:
            axes.axvline(best_epoch, color=color("muted"), linewidth=1, linestyle=(0, (2, 2)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0.5)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("epoch" if best_epoch is None else f"epoch (dashed: {best_epoch}, whose weights were kept)")
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=8)
        return svg_text(figure, name, f"{title}, one value an epoch")
