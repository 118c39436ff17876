"""One self-contained page a person wants to read, made from the figures of an evaluation."""

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from animl_pipeline import images, plots
from animl_pipeline.errors import ImageUnusable
from animl_pipeline.files import unsafe_reason

OVERALL = {
    "macro_average_precision": ("Macro average precision", "mean over labels, each counted once"),
    "weighted_average_precision": ("Weighted average precision", "mean weighted by crops"),
    "micro_average_precision": ("Micro average precision", "all pairs of crop and label pooled"),
    "accuracy": ("Accuracy", "share of crops whose most probable label is the true one"),
    "balanced_accuracy": ("Balanced accuracy", "mean over labels of their own accuracy"),
    "macro_precision": ("Macro precision", "mean over labels"),
    "macro_recall": ("Macro recall", "mean over labels"),
    "macro_f1": ("Macro F1", "mean over labels"),
    "log_loss": ("Log loss", "in nats; lower is better"),
    "ece": (
        "Expected calibration error",
        "mean gap between how sure the model is and how often it is right; lower is better",
    ),
}
SPLIT_NOTES = {
    "test": "No crop of this split was used in training. Split by location, which is the default, "
    "it shows how the model does where it has never seen the background.",
    "val": "The epoch to keep was chosen by figures of this split, so they flatter the model.",
    "train": "The model was trained on these very crops, so these figures say little of others.",
}
CONFUSIONS_SHOWN = 10
LOCATIONS_OPEN = 40  # more are folded away in the table, and not plotted
GALLERY_SIZE = 24
PER_LOCATION = 6
THUMBNAIL_PX = 112


def render(
    *,
    model: dict[str, Any],
    metrics: dict[str, Any],
    predictions: dict[str, pd.DataFrame],
    history: pd.DataFrame | None,
    crops_dir: Path | None,
) -> str:
    """Return the page as HTML that needs no other file and no network.

    Args:
        model: the content of `model.json`.
        metrics: the content of `metrics.json`.
        predictions: for each split of `metrics`, the rows of `predictions_<split>.csv`.
        history: the rows of `history.csv`, if there is one.
        crops_dir: where the crops are; without it the page shows no pictures.
    """
    labels = metrics["labels"]
    # `sorted` is stable: the test split first, the others in the order they were asked for.
    names = sorted(metrics["splits"], key=lambda name: name != "test")
    sections = [
        section(name, metrics["splits"][name], labels, predictions[name], crops_dir)
        for name in names
    ]
    return _template().render(
        model=model,
        labels=labels,
        sections=sections,
        training=None if history is None or history.empty else training(history, model["epoch"]),
    )


def _template() -> jinja2.Template:
    """Return the page's template; what it is given is escaped, as names are foreign text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("animl_pipeline"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "between": between, "setting": setting}
    return environment.get_template("report.html.j2")


def number(value: float | None, digits: int = 2) -> str:
    """Return `value` for a reader, or a dash where it could not be computed.

    >>> number(0.8312), number(0.8312, 3), number(None)
    ('0.83', '0.831', '—')
    """
    return "—" if value is None or math.isnan(value) else f"{value:.{digits}f}"


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


def section(
    name: str,
    figures: dict[str, Any],
    labels: list[str],
    predictions: pd.DataFrame,
    crops_dir: Path | None,
) -> dict[str, Any]:
    """Return what the template shows of one split."""
    seen = label_rows(figures, labels)
    known = [row for row in seen if row["average_precision"] is not None]
    return {
        "name": name,
        "note": SPLIT_NOTES.get(name, ""),
        "n": figures["n"],
        "headline": figures["macro_average_precision"],
        "interval": interval(figures, "macro_average_precision"),
        "chance": chance(figures),
        "overall": overall_rows(figures),
        "labels": seen,
        "best": max(known, key=lambda row: row["average_precision"], default=None),
        "worst": min(known, key=lambda row: row["average_precision"], default=None),
        "unseen": figures["labels_without_examples"],
        "confusion": confusion(figures, labels),
        "curves": curves(known, predictions),
        "locations": locations(figures),
        "gallery": None if crops_dir is None else gallery(predictions, labels, crops_dir),
    }


def interval(figures: dict[str, Any], key: str) -> tuple[float, float] | None:
    """Return the 95 % interval of the figure `key`, or None where it could not be computed."""
    ends = figures["intervals"].get(key)
    if ends is None or any(end is None or math.isnan(end) for end in ends):
        return None
    low, high = ends
    return low, high


def chance(figures: dict[str, Any]) -> float | None:
    """Return the macro average precision of guessing: the mean prevalence of the labels seen."""
    counts = [row["n"] for row in figures["per_label"].values() if row["n"]]
    return sum(counts) / len(counts) / figures["n"] if counts else None


def overall_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each figure of the split as a whole."""
    return [
        {"title": title, "means": means, "value": figures[key], "interval": interval(figures, key)}
        for key, (title, means) in OVERALL.items()
    ]


def label_rows(figures: dict[str, Any], labels: list[str]) -> list[dict[str, Any]]:
    """Return a row for each label with examples, in label order."""
    return [
        figures["per_label"][label]
        | {
            "label": label,
            "interval": interval(figures, f"average_precision/{label}"),
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


def curves(known: list[dict[str, Any]], predictions: pd.DataFrame) -> dict[str, Any] | None:
    """Return the plot of the precision-recall curves of the labels with an average precision."""
    if not known:
        return None
    shown = plots.hardest({row["label"]: row["average_precision"] for row in known})
    plot = plots.precision_recall(
        predictions["label"].to_numpy(dtype=object),
        {label: predictions[f"prob_{label}"].to_numpy(dtype=np.float64) for label in shown},
        {row["label"]: row["average_precision"] for row in known if row["label"] in shown},
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


def gallery(predictions: pd.DataFrame, labels: list[str], crops_dir: Path) -> dict[str, Any]:
    """Return the mistakes the model was most sure of, each with a small picture if there is one."""
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    probabilities = wrong[[f"prob_{label}" for label in labels]].to_numpy(dtype=np.float64)
    column = pd.Index(labels).get_indexer(pd.Index(wrong["predicted"]))
    sure = wrong.assign(probability=probabilities[np.arange(len(wrong)), column])
    # By name where probabilities are equal, so that the order of the rows does not matter.
    sure = sure.sort_values(["probability", "crop"], ascending=[False, True])
    # One burst would fill the gallery: no location more than a few tiles.
    sure = sure[sure.groupby(["dataset", "location"]).cumcount() < PER_LOCATION].head(GALLERY_SIZE)
    columns = ["crop", "image", "location", "label", "predicted", "probability"]
    tiles = [
        tile | {"picture": thumbnail(crops_dir, tile["crop"])}
        for tile in sure[columns].to_dict("records")
    ]
    return {"tiles": tiles, "of": len(wrong), "per_location": PER_LOCATION}


def thumbnail(crops_dir: Path, crop: str) -> str | None:
    """Return a small JPEG of a crop as a data URI, or None if it cannot be read."""
    if unsafe_reason(crop):
        return None
    try:
        picture = images.open_upright(crops_dir / crop)
    except ImageUnusable:
        return None
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def training(history: pd.DataFrame, epoch: int) -> dict[str, Any]:
    """Return the plot of the training and what it took."""
    return {
        "plot": plots.training(history, epoch),
        "epochs": len(history),
        "minutes": float(history["seconds"].sum() / 60),
        "images_per_second": float(history["images_per_second"].mean()),
    }
