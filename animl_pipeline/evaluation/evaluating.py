"""Evaluate a run: predict its splits, measure them, compare, and choose its policy."""

import dataclasses
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from animl_pipeline.artifacts.splits import VAL
from animl_pipeline.classifier.predicting import predict_rows
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.classifier.reference import Reference
from animl_pipeline.evaluation import calibration, document
from animl_pipeline.evaluation.against import comparison
from animl_pipeline.evaluation.against.peers import predict_with_peer
from animl_pipeline.evaluation.choosing import choose_policy
from animl_pipeline.evaluation.document import Document, Judging
from animl_pipeline.evaluation.known_crops import check_overlaps
from animl_pipeline.evaluation.plan import EvaluationPlan
from animl_pipeline.evaluation.unknown import learn_reference
from animl_pipeline.runs.overlap import count_by_label
from animl_pipeline.runs.policy import Policy

SEED = 0  # of the bootstrap
PACKAGES = ("animl-pipeline", "torch", "torchvision", "numpy", "pandas", "scipy")

Unreadable = dict[str, dict[str, Any]]  # by split: how many of how many, and which crops


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation gives: the splits that were asked for, val, and what is written of them.

    `policy` is None where there is nothing to choose it by.
    """

    splits: dict[str, Predictions]
    val: Predictions | None
    document: Document
    policy: Policy | None

    @property
    def n(self) -> int:
        """Return how many crops were predicted."""
        beside = {} if self.val is None else {VAL: self.val}
        return sum(map(len, (self.splits | beside).values()))


def evaluate(plan: EvaluationPlan, commands: list[str]) -> Evaluation:
    """Return the evaluation of a run; `commands` are those that made it."""
    fitted = VAL in plan.splits and plan.trained_on.is_of(plan.dataset)
    reference = learn_reference(plan) if fitted and plan.members is None else None
    raw, unreadable = predict_splits(plan, reference)
    fitted = fitted and VAL in raw
    temperature = calibration.fit_temperature(raw[VAL]) if fitted else plan.temperature
    predicted = {name: of.calibrate(temperature) for name, of in raw.items()}
    val = predicted.get(VAL)
    splits = {name: of for name, of in predicted.items() if name != VAL or name in plan.asked}
    targets = plan.settings.name_targets()
    judging = Judging(val, temperature, targets, plan.settings.empty_label)
    rows = {name: of.rows for name, of in predicted.items()}
    overlap, warnings = check_overlaps(plan.trained_on, rows)
    first = next(iter(splits))
    compared, more_warnings = _compare(plan, first, splits[first])
    content = Document(
        labels=splits[first].labels,
        splits={
            name: document.describe_split(
                of, dataclasses.replace(judging, val=None) if name == VAL else judging
            )
            for name, of in splits.items()
        },
        seen_against_new=document.compare_seen_and_new(predicted),
        comparison=compared,
        warnings=_warn_of_unreadable(unreadable) + warnings + more_warnings,
        unreadable=unreadable,
        trained_on={"overlap": overlap, "labels": count_by_label(plan.trained_on, rows)},
        temperature_fitted=fitted,
        model=dataclasses.asdict(plan.predictor.card) | {"temperature": temperature},
        # No seconds: they differ from run to run, and the same run is to be the same bytes.
        training=None
        if plan.history is None or plan.history.empty
        else {"epochs": len(plan.history)},
        commands=commands,
        versions={"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    )
    policy = None
    if val and fitted and temperature and plan.members is None:
        policy = choose_policy(plan, predicted, temperature)
    return Evaluation(splits=splits, val=val, document=content, policy=policy)


def predict_splits(
    plan: EvaluationPlan, reference: Reference | None = None
) -> tuple[dict[str, Predictions], Unreadable]:
    """Return the predictions of each split, and of each with any what could not be read.

    A split that was not asked for is left out where none of its crops can be read.
    """
    splits, unreadable = {}, {}
    for name, rows in plan.splits.items():
        predictions = predict_rows(plan.predictor, rows, plan.crops_dir, name, reference)
        if lost := predictions.unreadable:
            unreadable[name] = {"n": len(lost), "of": len(rows), "crops": lost}
        if len(predictions):
            mapped = predictions.as_labels(plan.members) if plan.members else predictions
            splits[name] = mapped
    return splits, unreadable


def _warn_of_unreadable(unreadable: Unreadable) -> list[str]:
    """Return what to do about the crops that are in no metric, for each split with some."""
    return [
        f"{lost['n']:,} of {lost['of']:,} crops of {name} cannot be read and are in no figure: run "
        "`pipeline crop` again, or check --crops-dir. metrics.json names them."
        for name, lost in unreadable.items()
    ]


def _compare(
    plan: EvaluationPlan, name: str, split: Predictions
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the comparison on a split, and what to beware of in it."""
    if plan.peer is None:
        return None, []
    other = predict_with_peer(plan.peer, split, plan.crops_dir)
    compared = comparison.compare(split, other, seed=SEED)
    if plan.peer_trained_on is None:
        return compared, []
    overlap, warnings = check_overlaps(plan.peer_trained_on, {name: split.rows})
    return compared | {"overlap": overlap}, warnings
