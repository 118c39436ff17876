"""What the page shows of each split: rows of tables, plots and pictures."""

from typing import Any

import numpy as np

from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.report import curves, plots
from animl_pipeline.report.formatting import format_number
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


def build_section(
    name: str,
    metrics: dict[str, Any],
    split: Predictions,
    overlap: dict[str, Any] | None,
    pictures: Pictures | None,
) -> dict[str, Any]:
    """Return what the template shows of one split beside its metrics.

    `overlap` is with what the run was trained on (`runs.overlap.count_overlap`).
    """
    labels = split.labels
    seen = list_labels(metrics, labels)
    known = [row for row in seen if row["average_precision"] is not None]
    calibration, review = metrics["calibration"], metrics["review"]
    return {
        "name": name,
        "note": explain_overlap(overlap, metrics["n"]),
        "only_answer": find_only_answer(split),
        "metrics": metrics,
        "overall": list_overall(metrics),
        "labels": seen,
        "best": max(known, key=lambda row: row["average_precision"], default=None),
        "worst": min(known, key=lambda row: row["average_precision"], default=None),
        "confusion": show_confusions(metrics, labels),
        "curves": draw_precision_recall(known, split),
        "reliability": None
        if calibration is None
        else curves.draw_reliability(
            {when: calibration[when]["reliability"] for when in ("before", "after")}
        ),
        "review": curves.draw_review(review["curve"]),
        "locations": show_locations(metrics),
        "mistakes": build_tiles(metrics["mistakes"]["examples"], "predicted", pictures),
        "label_errors": build_tiles(metrics["label_errors"]["examples"], "suggested", pictures),
    }


def find_only_answer(split: Predictions) -> str | None:
    """Return the label that all crops were taken for, if crops of several labels were."""
    answers = np.unique(split.predicted)
    if len(answers) > 1 or len(np.unique(split.truth)) < 2:
        return None
    return str(split.labels[answers[0]])


def build_tiles(
    examples: list[dict[str, Any]], label: str, pictures: Pictures | None
) -> list[dict[str, Any]] | None:
    """Return the examples with their pictures; of the label in the column of that name."""
    if pictures is None:
        return None
    return [row | {"pictures": pictures.encode(row["crop"], row[label])} for row in examples]


def list_overall(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each metric of the split as a whole."""
    return [
        {
            "title": title,
            "means": means,
            "value": metrics[key],
            "interval": metrics["intervals"].get(key),
        }
        for key, (title, means) in OVERALL.items()
        if metrics[key] is not None or not key.startswith("top_")
    ]


def list_labels(metrics: dict[str, Any], labels: list[str]) -> list[dict[str, Any]]:
    """Return a row for each label with examples, in label order."""
    return [
        metrics["per_label"][label]
        | {
            "label": label,
            "interval": metrics["intervals"][f"average_precision/{label}"],
            "prevalence": metrics["per_label"][label]["n"] / metrics["n"],
        }
        for label in labels
        if metrics["per_label"][label]["n"]
    ]


def show_confusions(metrics: dict[str, Any], labels: list[str]) -> dict[str, Any] | None:
    """Return the plot of the confusion matrix and the most frequent confusions as rows."""
    counts = np.array(metrics["confusion_matrix"], dtype=np.int64)
    if not counts.sum():
        return None
    kept = plots.choose_most_confused(counts)
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
    plot = plots.draw_confusions(counts[np.ix_(kept, kept)], [labels[index] for index in kept])
    return {"plot": plot, "shown": len(kept), "of": len(labels), "rows": rows}


def draw_precision_recall(known: list[dict[str, Any]], split: Predictions) -> dict[str, Any] | None:
    """Return the plot of the precision-recall curves of the labels with an average precision."""
    if not known:
        return None
    shown = plots.choose_hardest({row["label"]: row["average_precision"] for row in known})
    plot = plots.draw_precision_recall(
        np.array(split.labels, dtype=object)[split.truth],
        {label: split.probabilities[:, split.labels.index(label)] for label in shown},
        {label: format_number(ap) for label, ap in shown.items()},
    )
    single = len(shown) > plots.OVERLAID_CURVES_MAX
    return {"plot": plot, "shown": len(shown), "of": len(known), "single": single}


def show_locations(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of the locations, least accurate first, and their plot if they are few."""
    rows = sorted(
        metrics["by_location"],
        key=lambda row: (row["accuracy"], -row["n"], row["dataset"], row["location"]),
    )
    many_datasets = len({row["dataset"] for row in rows}) > 1
    names = [
        f"{row['dataset']}/{row['location']}" if many_datasets else row["location"] for row in rows
    ]
    plot = None
    if 1 < len(rows) <= LOCATIONS_OPEN:
        n, accuracy = [row["n"] for row in rows], [row["accuracy"] for row in rows]
        plot = plots.draw_locations(names, n, accuracy, metrics["accuracy"])
    return {"rows": rows, "plot": plot, "open": LOCATIONS_OPEN, "few": plots.FEW_CROPS}


def explain_overlap(overlap: dict[str, Any] | None, n: int) -> str:
    """Return what the `n` crops of a split were to the run (`count_overlap`), for a reader."""
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
