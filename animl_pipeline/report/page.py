"""One self-contained page a person wants to read: metrics.json, drawn and explained."""

import json
import math
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.report import curves, plots
from animl_pipeline.report.gallery import Pictures

OVERALL = {
    "macro_average_precision": ("Macro average precision", "mean over labels, each counted once"),
    "weighted_average_precision": ("Weighted average precision", "mean weighted by crops"),
    "micro_average_precision": ("Micro average precision", "all pairs of crop and label pooled"),
    "accuracy": ("Accuracy", "share of crops whose most probable label is the true one"),
    "top_3_accuracy": ("Top-3 accuracy", "share whose label is among the three most probable"),
    "top_5_accuracy": ("Top-5 accuracy", "share whose label is among the five most probable"),
    "balanced_accuracy": ("Balanced accuracy", "mean over labels of their own accuracy"),
    "macro_precision": (
        "Mean precision",
        "mean over labels of what share of those given the label bear it",
    ),
    "macro_recall": ("Macro recall", "mean over labels"),
    "macro_f1": ("Macro F1", "mean over labels"),
    "log_loss": ("Log loss", "in nats; lower is better"),
    "ece": (
        "Expected calibration error",
        "mean gap between how sure the model is and how often it is right; lower is better",
    ),
}
CONFUSIONS_SHOWN = 10
LOCATIONS_OPEN = 40  # more are folded away in the table, and not plotted
DECIMALS_MAX = 3  # of what is nearly 1


def render(
    *,
    metrics: dict[str, Any],
    scored: dict[str, Predictions],
    history: pd.DataFrame | None,
    pictures: Pictures | None,
) -> str:
    """Return the page as HTML that needs no other file and no network.

    Args:
        metrics: the content of `metrics.json`: every number on the page is in it.
        scored: for each split of `metrics`, what the precision-recall curves are drawn from.
        history: the rows of `history.csv`, if there is one.
        pictures: makes the pictures of the galleries; without it the page shows none.
    """
    sections = [
        section(name, figures, metrics["labels"], scored[name], pictures)
        | {"note": note(metrics["trained_on"]["overlap"][name], figures["n"])}
        for name, figures in metrics["splits"].items()
    ]
    drawn = None
    if metrics["training"] is not None and history is not None:
        drawn = curves.training(history, metrics["model"]["epoch"])
    return _template().render(
        model=metrics["model"], metrics=metrics, sections=sections, training_plot=drawn
    )


def _template() -> jinja2.Template:
    """Return the page's template; what it is given is escaped, as names are foreign text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("animl_pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "threshold": threshold,
        "between": between,
        "setting": setting,
    }
    return environment.get_template("report.html.j2")


def number(value: float | None, digits: int = 2) -> str:
    """Return `value` for a reader, or a dash where it could not be computed.

    What is below 1 does not read 1: it gets more digits, up to DECIMALS_MAX.

    >>> number(0.8312), number(0.8312, 3), number(None)
    ('0.83', '0.831', '—')
    >>> number(0.998), number(0.9998), number(1)
    ('0.998', '>0.999', '1.00')
    """
    if value is None or math.isnan(value):
        return "—"
    shown = (f"{value:.{more}f}" for more in range(digits, DECIMALS_MAX + 1))
    return next((text for text in shown if value >= 1 or float(text) < 1), ">0.999")


def threshold(value: float | None) -> str:
    """Return a threshold with all its digits, as what is typed has to be what was checked.

    >>> threshold(0.5), threshold(0.999998), threshold(None)
    ('0.500', '0.999998', '—')
    """
    return "—" if value is None else np.format_float_positional(value, min_digits=3)


def percent(value: float | None, digits: int = 0) -> str:
    """Return a share in percent, or a dash where it could not be computed.

    What is not none does not read 0, what is not all does not read 100.

    >>> percent(0.256), percent(None)
    ('26 %', '—')
    >>> percent(0.004), percent(0.004, 1), percent(0.996)
    ('<1 %', '0.4 %', '>99 %')
    """
    if value is None:
        return "—"
    shown, step = f"{100 * value:.{digits}f}", 10**-digits
    if value > 0 and float(shown) == 0:
        return f"<{step:.{digits}f} %"
    return f">{100 - step:.{digits}f} %" if value < 1 and float(shown) == 100 else f"{shown} %"


def between(interval: tuple[float, float] | None, digits: int = 2) -> str:
    """Return an interval in words, or a dash where there is none.

    >>> between((0.714, 0.9)), between(None)
    ('0.71 to 0.90', '—')
    """
    return "—" if interval is None else " to ".join(number(end, digits) for end in interval)


def setting(value: Any) -> str:
    """Return an option's value as a person would write it.

    >>> setting(True), setting(None), setting("runs"), setting([1, 2])
    ('yes', 'none', 'runs', '[1, 2]')
    """
    words = {True: "yes", False: "no", None: "none"}
    if value is None or isinstance(value, bool):
        return words[value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def note(overlap: dict[str, Any] | None, n: int) -> str:
    """Return what the `n` crops of a split were to the run (`trained_on.overlap`), for a reader."""
    if overlap is None:
        return "Nobody knows which crops of this split were used in training."
    train, val, there = (overlap[name] for name in (TRAIN, VAL, "locations"))
    if train == n:
        return "The model was trained on these very crops, so these figures say little of others."
    if val == n:
        return "The epoch to keep was chosen by figures of this split, so they flatter the model."
    if train or val:
        return (
            f"{train:,} crops of this split were used in training, and {val:,} to choose the epoch "
            "to keep, so its figures flatter the model."
        )
    if not overlap["whole"]:
        return "Nobody knows whether crops of this split were used for the weights it started from."
    if there:
        return (
            f"No crop of this split was used in training, but {there:,} are at locations of crops "
            "that were."
        )
    return (
        "No crop of this split was used in training, nor any other of its locations: it shows how "
        "the model does where it has never seen the background."
    )


def section(
    name: str,
    figures: dict[str, Any],
    labels: list[str],
    scored: Predictions,
    pictures: Pictures | None,
) -> dict[str, Any]:
    """Return what the template shows of one split beside its figures."""
    seen = label_rows(figures, labels)
    known = [row for row in seen if row["average_precision"] is not None]
    calibration, review = figures["calibration"], figures["review"]
    return {
        "name": name,
        "figures": figures,
        "overall": overall_rows(figures),
        "labels": seen,
        "best": max(known, key=lambda row: row["average_precision"], default=None),
        "worst": min(known, key=lambda row: row["average_precision"], default=None),
        "confusion": confusion(figures, labels),
        "curves": precision_recall(known, scored),
        "reliability": None
        if calibration is None
        else curves.reliability(
            {when: calibration[when]["reliability"] for when in ("before", "after")}
        ),
        "review": curves.review(review["curve"]),
        "locations": locations(figures),
        "mistakes": tiles(figures["mistakes"]["examples"], "predicted", pictures),
        "label_errors": tiles(figures["label_errors"]["examples"], "suggested", pictures),
    }


def tiles(
    examples: list[dict[str, Any]], label: str, pictures: Pictures | None
) -> list[dict[str, Any]] | None:
    """Return the examples with their pictures; of the label in the column of that name."""
    if pictures is None:
        return None
    return [row | {"pictures": pictures.shown(row["crop"], row[label])} for row in examples]


def overall_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each figure of the split as a whole."""
    return [
        {
            "title": title,
            "means": means,
            "value": figures[key],
            "interval": figures["intervals"].get(key),
        }
        for key, (title, means) in OVERALL.items()
        if figures[key] is not None or not key.startswith("top_")
    ]


def label_rows(figures: dict[str, Any], labels: list[str]) -> list[dict[str, Any]]:
    """Return a row for each label with examples, in label order."""
    return [
        figures["per_label"][label]
        | {
            "label": label,
            "interval": figures["intervals"][f"average_precision/{label}"],
            "prevalence": figures["per_label"][label]["n"] / figures["n"],
        }
        for label in labels
        if figures["per_label"][label]["n"]
    ]


def confusion(figures: dict[str, Any], labels: list[str]) -> dict[str, Any] | None:
    """Return the plot of the confusion matrix and the most frequent confusions as rows."""
    counts = np.array(figures["confusion_matrix"], dtype=np.int64)
    if not counts.sum():
        return None
    kept = plots.most_confused(counts)
    wrong = counts - np.diag(np.diag(counts))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS_SHOWN]
    cells = [divmod(int(cell), len(labels)) for cell in largest if wrong.flat[cell]]
    rows = [
        {
            "true": labels[true],
            "predicted": labels[predicted],
            "n": int(counts[true, predicted]),
            "of": int(counts[true].sum()),
        }
        for true, predicted in cells
    ]
    plot = plots.confusion_matrix(counts[np.ix_(kept, kept)], [labels[index] for index in kept])
    return {"plot": plot, "shown": len(kept), "of": len(labels), "rows": rows}


def precision_recall(known: list[dict[str, Any]], scored: Predictions) -> dict[str, Any] | None:
    """Return the plot of the precision-recall curves of the labels with an average precision."""
    if not known:
        return None
    shown = plots.hardest({row["label"]: row["average_precision"] for row in known})
    plot = plots.precision_recall(
        np.array(scored.labels, dtype=object)[scored.truth],
        {label: scored.probabilities[:, scored.labels.index(label)] for label in shown},
        {row["label"]: number(row["average_precision"]) for row in known if row["label"] in shown},
    )
    single = len(shown) > plots.OVERLAID_CURVES_MAX
    return {"plot": plot, "shown": len(shown), "of": len(known), "single": single}


def locations(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of the locations, least accurate first, and their plot if they are few."""
    rows = sorted(
        figures["by_location"],
        key=lambda row: (row["accuracy"], -row["n"], row["dataset"], row["location"]),
    )
    many_datasets = len({row["dataset"] for row in rows}) > 1
    names = [
        f"{row['dataset']}/{row['location']}" if many_datasets else row["location"] for row in rows
    ]
    plot = None
    if 1 < len(rows) <= LOCATIONS_OPEN:
        n, accuracy = [row["n"] for row in rows], [row["accuracy"] for row in rows]
        plot = plots.locations(names, n, accuracy, figures["accuracy"])
    return {"rows": rows, "plot": plot, "open": LOCATIONS_OPEN, "few": plots.FEW_CROPS}
