"""Learn what the crops of train are like, and choose on val how unlike them is unknown."""

import logging

import numpy as np
import pandas as pd

from animl_pipeline.artifacts.names import WEIGHTS
from animl_pipeline.artifacts.splits import TRAIN
from animl_pipeline.classifier import reference
from animl_pipeline.classifier.predicting import embed_rows
from animl_pipeline.classifier.predictions import Bools, Floats, Predictions
from animl_pipeline.classifier.reference import Reference
from animl_pipeline.evaluation.plan import EvaluationPlan
from animl_pipeline.files import whole
from animl_pipeline.runs.policy import MeasuredOn, Unknown

PER_LABEL, CROPS_MAX = 200, 4000  # of train, so that the file has 10 MB at most for 1280 features
SEED = 0  # by which they are drawn
FALSE_UNKNOWNS = 0.01  # of the crops whose label is known, each location weighing alike

Locations = list[tuple[str, str]]
logger = logging.getLogger(__name__)


def learn_reference(plan: EvaluationPlan) -> Reference | None:
    """Return the reference of a run from some crops of train, and keep it beside the run.

    What an earlier evaluation learned of the same weights and crops is taken as it is. None where
    no crop of train can be read, or nothing be written beside the run.
    """
    rows = draw_rows(plan.dataset[plan.dataset["split"] == TRAIN])
    weights = whole.digest(plan.run_folder / WEIGHTS.name, "sha256")
    made_of = f"{weights} {plan.dataset_fingerprint} {PER_LABEL} {SEED} {reference.SCORE}"
    kept = reference.find_reference(plan.run_folder, made_of)
    if kept is not None or rows.empty:
        return kept
    features, known = embed_rows(plan.predictor, rows, plan.crops_dir, "train, sampled")
    if not len(known) or known.logits is None:
        return None
    locations = ["\n".join(location) for location in known.locations]
    learned = reference.learn_reference(features, known.logits.astype(np.float32), locations)
    try:
        reference.write_reference(plan.run_folder, learned, made_of)
    except OSError as error:
        logger.warning("Nothing is told of what is unlike train: %s", error)
        return None
    return learned


def draw_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return at most PER_LABEL rows of each label and CROPS_MAX of all, drawn, in their order."""
    drawn = rows.sample(frac=1, random_state=SEED)
    turn = drawn.groupby("label").cumcount().rename("turn")
    by_turn = drawn.join(turn[turn < PER_LABEL], how="inner").sort_values("turn", kind="stable")
    return by_turn.head(CROPS_MAX)[rows.columns].sort_index().reset_index(drop=True)


def choose_unknown(val: Predictions, on: MeasuredOn) -> Unknown | None:
    """Return the threshold of the unknown score that val chooses; None where it has no scores."""
    if val.unknown is None:
        return None
    threshold = choose_threshold(val.unknown, val.locations, wanted=FALSE_UNKNOWNS)
    return Unknown(
        score=reference.SCORE,
        threshold=threshold,
        wanted=FALSE_UNKNOWNS,
        share=measure_share(val.unknown > threshold, val.locations),
        measured_on=on,
    )


def choose_threshold(scores: Floats, locations: Locations, *, wanted: float) -> float:
    """Return the lowest of the scores (n,) that at most the wanted share of crops is above.

    Each location weighs alike, however many crops it has.
    """
    number = {location: i for i, location in enumerate(sorted(set(locations)))}
    group = np.array([number[location] for location in locations])
    weights = 1 / np.bincount(group)[group] / len(number)
    order = np.argsort(-scores, kind="stable")
    values, first = np.unique(-scores[order], return_index=True)  # from the highest
    above = np.append(0, np.cumsum(weights[order]))[first]
    return float(-values[np.flatnonzero(above <= wanted + 1e-12)[-1]])


def measure_share(chosen: Bools, locations: Locations) -> float:
    """Return the mean over the locations of the share of crops that are chosen (n,)."""
    names = ["\n".join(location) for location in locations]
    return float(pd.Series(chosen.astype(np.float64)).groupby(names).mean().mean())
