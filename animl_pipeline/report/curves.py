"""The report's plots of what changes along a line: calibration, review effort, training."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from animl_pipeline.report.plots import (
    COLOURS,
    DASHES,
    FAINT,
    WIDTH_IN,
    encode_svg,
    frame_unit_square,
    styled,
)


def draw_reliability(bins: dict[str, list[dict[str, Any]]]) -> str:
    """Return the reliability diagrams: how often it is right when it is so sure, side by side."""
    with styled():
        figure = Figure(figsize=(WIDTH_IN, 3.6), layout="constrained")
        for axes, (title, rows) in zip(figure.subplots(1, 2), bins.items(), strict=True):
            frame_unit_square(axes)
            axes.set_title(title, loc="left")
            axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", linewidth=1)
            most = max(row["n"] for row in rows)
            axes.plot(
                [row["probability"] for row in rows],
                [row["accuracy"] for row in rows],
                color=COLOURS[0],
                linewidth=1.2,
            )
            axes.scatter(
                [row["probability"] for row in rows],
                [row["accuracy"] for row in rows],
                s=[12 + 120 * row["n"] / most for row in rows],
                color=COLOURS[0],
                alpha=0.6,
            )
            axes.set(xlabel="how sure it is", ylabel="how often it is right")
        return encode_svg(figure)


def draw_review(points: list[list[float]]) -> str:
    """Return the curve of [share looked at by a person, precision of the others]."""
    with styled():
        figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
        axes = figure.add_subplot()
        shares, precisions = zip(*points, strict=True)
        axes.plot(shares, precisions, color=COLOURS[0], linewidth=1.8, drawstyle="steps-mid")
        axes.set(xlim=(-0.01, 1.01), ylim=(min(0.8, *precisions) - 0.02, 1.02))
        axes.set_xlabel("share of the images a person looks at, those it is least sure of first")
        axes.set_ylabel("precision of the others")
        axes.grid(color="#e6e6e6", linewidth=0.6)
        return encode_svg(figure)


def draw_training(history: pd.DataFrame, epoch: int) -> str:
    """Return the losses and the validation figures by epoch, with a line at the `epoch` kept.

    Files count epochs from 0, the page from 1.
    """
    panels = {
        "loss": {"train_loss": "train", "val_loss": "val"},
        "figures on val": {
            "val_macro_average_precision": "macro average precision",
            "val_balanced_accuracy": "balanced accuracy",
        },
    }
    with styled():
        figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
        for axes, (title, series) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
            drawn = {
                column: name for column, name in series.items() if history[column].notna().any()
            }
            for index, (column, name) in enumerate(drawn.items()):
                line = {"color": COLOURS[index], "linestyle": DASHES[index], "label": name}
                axes.plot(history["epoch"] + 1, history[column], marker=".", **line)
            if drawn:
                axes.axvline(
                    epoch + 1, color=FAINT, linestyle=":", label=f"epoch kept: {epoch + 1}"
                )
                axes.legend(fontsize=8)
            else:
                axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
        return encode_svg(figure)
