"""The report's plots, each returned as an SVG data URI that is the same for the same figures."""

import base64
import io
import math
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

# Okabe & Ito (2008), told apart by colour-blind readers; grey for their yellow, too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000", "#888888")
DASHES = ("-", "--", "-.", ":")
INK, FAINT = "#222222", "#999999"
STYLE: dict[Any, Any] = {
    # Text stays text: small files, and a name in any script is drawn with the reader's fonts.
    "svg.fonttype": "none",
    "svg.hashsalt": "animl-pipeline",
    "text.parse_math": False,  # a "$" in a name is a "$"
    # The first comes with matplotlib, so the layout does not depend on the machine's fonts.
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
WIDTH_IN = 7.2
NAME_CHARACTERS = 26
CONFUSION_LABELS_MAX = 60
OVERLAID_CURVES_MAX = len(COLOURS)
CURVES_MAX = 48
CURVE_POINTS_MAX = 400
FEW_CROPS = 20


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the house style, whatever style the caller or the machine has set."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        # Only the width of such a letter is unknown here; the browser has a font for it.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from")
        yield


def encode_svg(figure: Figure) -> str:
    """Return `figure` as a data URI."""
    text = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(text, format="svg", bbox_inches="tight", pad_inches=0.05, metadata=metadata)
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue().encode()).decode()


def _escape_name(text: str) -> str:
    """Return a foreign name fit for a plot: one line, no control characters, its middle cut."""
    # Categories C*: control characters and lone surrogates are not allowed in XML.
    plain = "".join("�" if unicodedata.category(char)[0] == "C" else char for char in text)
    if len(plain) <= NAME_CHARACTERS:
        return plain
    half = (NAME_CHARACTERS - 1) // 2
    return f"{plain[:half]}…{plain[-half:]}"


def frame_unit_square(axes: Axes) -> None:
    """Make both axes run from 0 to 1 with a faint grid."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
    axes.set_aspect("equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(color="#e6e6e6", linewidth=0.6)


def choose_most_confused(
    counts: NDArray[np.int64], at_most: int = CONFUSION_LABELS_MAX
) -> list[int]:
    """Return the indices, in label order, of the `at_most` labels with the most mistakes."""
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    return sorted(np.argsort(-mistakes, kind="stable")[:at_most].tolist())


def draw_confusions(counts: NDArray[np.int64], labels: Sequence[str]) -> str:
    """Return the plot of `counts` (true x predicted) as a data URI."""
    with styled():
        return encode_svg(make_confusion_figure(counts, labels))


def make_confusion_figure(counts: NDArray[np.int64], labels: Sequence[str]) -> Figure:
    """Return the plot of `counts` (true x predicted): colour is the share of the row."""
    size = len(labels)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.ma.masked_array(counts / np.maximum(totals, 1), np.repeat(totals == 0, size, 1))
    names = [_escape_name(label) for label in labels]
    side_in = min(max(2.3 + 0.5 * size, 3.6), 11)
    cell_pt = 72 * (side_in - 2.0) / size
    font_pt = float(np.clip(cell_pt * 0.4, 3.5, 9))
    figure = Figure(figsize=(side_in + 0.6, side_in), layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("#eeeeee")  # shows through where a row has no example
    mesh = axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", lw=0.8)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    centres = np.arange(size) + 0.5
    axes.set_xticks(
        centres,
        names,
        fontsize=max(font_pt, 5.0),
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    axes.set_yticks(centres, names, fontsize=max(font_pt, 5.0))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted label", ylabel="true label")
    _write_counts(axes, counts, shares, font_pt)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.7, label="share of the true label's crops")
    bar.outline.set_visible(False)
    return figure


def _write_counts(
    axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], font_pt: float
) -> None:
    """Write each count that is not 0 into its cell, in white where `shares` make the cell dark."""
    for row, column in np.argwhere(counts > 0):
        text = str(counts[row, column])
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.65 else INK,
            fontsize=font_pt * min(1.0, 4.5 / len(text)),  # five digits would run over the cell
            in_layout=False,
        )


def _trace_curve(
    positive: NDArray[np.bool_], score: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision, thinned to what the eye can tell apart."""
    precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
    points = min(len(recall), CURVE_POINTS_MAX)
    kept = np.linspace(0, len(recall) - 1, points).round().astype(int)
    return recall[kept], precision[kept]


def choose_hardest(
    average_precisions: dict[str, float], at_most: int = CURVES_MAX
) -> dict[str, float]:
    """Return the `at_most` labels of the lowest average precision, in their given order."""
    lowest = set(sorted(average_precisions, key=average_precisions.__getitem__)[:at_most])
    return {label: value for label, value in average_precisions.items() if label in lowest}


def draw_precision_recall(
    truth: NDArray[np.object_],
    probabilities: dict[str, NDArray[np.float64]],
    average_precisions: dict[str, str],
) -> str:
    """Return the precision-recall curves, one per key of `average_precisions`.

    Args:
        truth: (n,) true labels.
        probabilities: (n,) probabilities of each label.
        average_precisions: what to write beside each curve.
    """
    curves = {
        label: _trace_curve(truth == label, probabilities[label]) for label in average_precisions
    }
    with styled():
        if len(curves) <= OVERLAID_CURVES_MAX:
            return encode_svg(_draw_overlaid(curves, average_precisions))
        prevalence = {label: float(np.mean(truth == label)) for label in curves}
        return encode_svg(_draw_side_by_side(curves, average_precisions, prevalence))


def _draw_overlaid(
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    average_precisions: dict[str, str],
) -> Figure:
    """Return all curves in one plot, with the average precision of each in the legend."""
    legend_rows = math.ceil(len(curves) / 2)
    figure = Figure(figsize=(4.6, 4.9 + 0.2 * legend_rows), layout="constrained")
    axes = figure.add_subplot()
    frame_unit_square(axes)
    axes.set(xlabel="recall: share of the label's crops found")
    axes.set_ylabel("precision: share of those found that are right")
    for index, (label, (recall, precision)) in enumerate(curves.items()):
        axes.plot(
            recall,
            precision,
            drawstyle="steps-post",
            color=COLOURS[index % len(COLOURS)],
            linestyle=DASHES[index % len(DASHES)],
            linewidth=1.8,
            # The figure first: matplotlib leaves out of a legend what begins with "_".
            label=f"{average_precisions[label]} {_escape_name(label)}",
        )
    figure.legend(loc="outside lower center", ncols=2, handlelength=3.2)
    return figure


def _draw_side_by_side(
    curves: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    average_precisions: dict[str, str],
    prevalence: dict[str, float],
) -> Figure:
    """Return one small plot per curve, with the precision of guessing as a dotted line."""
    columns = 4
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(WIDTH_IN, 0.4 + 2.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    cells = list(grid.flat)
    for axes, (label, (recall, precision)) in zip(cells, curves.items(), strict=False):
        frame_unit_square(axes)
        axes.axhline(prevalence[label], color=FAINT, linestyle=":", linewidth=1)
        axes.plot(recall, precision, drawstyle="steps-post", color=COLOURS[0], linewidth=1.6)
        title = f"{_escape_name(label)}\nAP {average_precisions[label]}"
        axes.set_title(title, loc="left", fontsize=8)
    for axes in cells[len(curves) :]:
        axes.set_visible(False)
    for axes in cells[: len(curves)][-columns:]:  # those with no plot below them
        axes.tick_params(labelbottom=True)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    return figure


def draw_locations(
    names: Sequence[str], n: Sequence[int], accuracy: Sequence[float], all_: float
) -> str:
    """Return a bar of the accuracy of each location, first at the top, and a line at `all_`."""
    place = np.arange(len(names))
    faces = [COLOURS[5] if crops >= FEW_CROPS else "#cfe6f5" for crops in n]
    with styled():
        figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.22 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.barh(place, accuracy, height=0.72, color=faces)
        axes.axvline(all_, color=INK, linewidth=1, linestyle="--")
        axes.set_yticks(place, [_escape_name(name) for name in names])
        axes.tick_params(axis="y", length=0)
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.4, -0.6), xlabel="accuracy")
        for row, crops in enumerate(n):
            axes.text(1.015, row, f"{crops:,}", va="center", fontsize=8)
        axes.text(1.015, -0.75, "crops", va="bottom", fontsize=8, color="#555555")
        return encode_svg(figure)
