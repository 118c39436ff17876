"""One self-contained page a person wants to read: metrics.json, drawn and explained."""

import pandas as pd

from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation.document import Document
from animl_pipeline.report import curves
from animl_pipeline.report.gallery import Pictures
from animl_pipeline.report.rendering import load_template
from animl_pipeline.report.sections import build_section


def render(
    document: Document,
    splits: dict[str, Predictions],
    *,
    run_name: str,
    history: pd.DataFrame | None,
    pictures: Pictures | None,
) -> str:
    """Return the page as HTML that needs no other file and no network.

    Args:
        document: the content of `metrics.json`: every number on the page is in it.
        splits: those of the document, from which the precision-recall curves are drawn.
        run_name: as the run's folder is called.
        history: the rows of `history.csv`, if there is one.
        pictures: makes the pictures of the galleries; without it the page shows none.
    """
    plot = None
    if document.training is not None and history is not None:
        plot = curves.draw_training(history, document.model["epoch"])
    return load_template("report.html.j2").render(
        run_name=run_name,
        datasets=sorted({dataset for split in splits.values() for dataset, _ in split.locations}),
        model=document.model,
        metrics=document,
        sections=[
            build_section(
                name, metrics, splits[name], document.trained_on["overlap"][name], pictures
            )
            for name, metrics in document.splits.items()
        ],
        training_plot=plot,
    )
