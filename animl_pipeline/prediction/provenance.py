"""What results.json says of how it was made: run, labels, temperature, thresholds, versions."""

from importlib.metadata import version
from statistics import median
from typing import Any

from animl_pipeline.files.names import is_encodable
from animl_pipeline.prediction.decisions import Rules
from animl_pipeline.prediction.plan import PredictionPlan

PACKAGE = "animl-pipeline"


def name_detector(plan: PredictionPlan) -> str:
    """Return what the boxes are of."""
    if plan.detector:
        return plan.detector.name
    if plan.results is None:
        return "none: whole images"
    name = plan.results.info.get("detector")
    is_usable = isinstance(name, str) and name and is_encodable(name)
    return str(name) if is_usable else f"{plan.options.detections}"


def make_info(plan: PredictionPlan, rules: Rules) -> dict[str, Any]:
    """Return the members of results.json's `info` beside its format and detector.

    All but the last are of MegaDetector's format. There is no time among them, so that the same
    answers are the same bytes: predict.json has it.
    """
    info: dict[str, Any] = {"classifier": plan.run_folder.name}
    typical = [value for value in rules.thresholds.values() if value is not None]
    if typical:
        threshold = float(median(typical))
        info["classifier_metadata"] = {"typical_classification_threshold": threshold}
    if plan.detector and plan.detector.metadata:
        info["detector_metadata"] = plan.detector.metadata
    return info | {"custom_metadata": _describe(plan, rules)}  # as the package calls it


def _describe(plan: PredictionPlan, rules: Rules) -> dict[str, Any]:
    """Return all that decided what is said of an image."""
    unknown = plan.policy.unknown if plan.policy else None
    return {
        "version": version(PACKAGE),
        "run": plan.run_folder.name,
        "labels": list(rules.labels),
        "temperature": rules.temperature,
        "thresholds": dict(rules.thresholds),
        "thresholds_given": dict(plan.label_thresholds),
        "precision_wanted": rules.wanted,
        "alarms": dict(rules.alarms),
        "unknown_threshold": unknown.threshold if unknown else None,
        "empty_label": rules.empty_label,
        "sequence_gap_seconds": plan.options.sequence_gap,
        "answered_with": plan.settings,
        "trained_with": plan.card.versions,
    }
