"""What the page of `predict` says of how the answers were made, in words."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from animl_pipeline.prediction.cameras import CameraVerdict
from animl_pipeline.prediction.decisions import Rules
from animl_pipeline.prediction.plan import PredictionPlan, count_trained_on
from animl_pipeline.report.formatting import format_count, format_setting, format_threshold
from animl_pipeline.report.overview_page import Context
from animl_pipeline.runs.policy import MeasuredOn, Policy

THRESHOLDS_SHOWN = 60


def make_context(
    plan: PredictionPlan, rules: Rules, policy: Policy | None, cameras: Sequence[CameraVerdict]
) -> Context:
    """Return what follows from the plan and no image; `cameras` are the verdicts on locations."""
    options = plan.options
    crop_rule = [
        f"{name.replace('_', ' ')} {format_setting(value)}"
        for name, value in plan.card.crop_rule.items()
    ]
    made = {
        "run": str(plan.run_folder),
        "network": f"{plan.card.model_name}, {plan.card.image_size} px",
        "labels": ", ".join(plan.card.labels),
        "temperature": _explain_temperature(rules, policy),
        "thresholds": _explain_thresholds(rules, plan.label_thresholds, policy),
        "unknown": _explain_unknown(policy),
        "crop rule": ", ".join(crop_rule),
        "boxes": _explain_boxes(plan),
        "location": "the COCO file's"
        if options.coco_file
        else f"of {options.locations}"
        if options.locations
        else f"the folder at level {options.location_level}"
        if options.location_level
        else "one for all images",
        "sequences": f"images of one camera, each within {options.sequence_gap:g} s of the last",
        "versions": f"animl-pipeline {version('animl-pipeline')}, "
        f"{plan.engine.name} {plan.engine.version}",
    }
    return Context(
        images_dir=options.images_dir,
        run_name=plan.run_folder.name,
        made={name: words for name, words in made.items() if words},
        beware=_list_warnings(plan, rules),
        cameras=cameras,
        videos=plan.listing.videos,
        unknown_threshold=policy.unknown.threshold if policy and policy.unknown else None,
    )


def _list_warnings(plan: PredictionPlan, rules: Rules) -> list[str]:
    """Return what a reader must know before the first number."""
    sentences = []
    if known := count_trained_on(plan.run_folder, plan.listing):
        sentences.append(
            f"{format_count(known, 'image')} here {'has' if known == 1 else 'have'} the name of "
            "one that the run was trained on. What it says of those is no test of it."
        )
    if not rules.thresholds:
        sentences.append(
            "Nobody has chosen thresholds for this run, so every box waits for a person. "
            "`pipeline evaluate` chooses them."
        )
    return sentences


def _explain_temperature(rules: Rules, policy: Policy | None) -> str:
    if policy is None:
        return "none: the probabilities are those of the network, which is often too sure"
    return f"{rules.temperature:.3f}{_explain_measured(policy.temperature.measured_on)}"


def _explain_thresholds(rules: Rules, given: Mapping[str, float], policy: Policy | None) -> str:
    if not rules.thresholds:
        return ""
    shown = [
        f"{label} {'none' if value is None else format_threshold(value)}"
        + (" (given)" if label in given else "")
        for label, value in rules.thresholds.items()
    ]
    words = ", ".join(shown[:THRESHOLDS_SHOWN]) + (", ..." if shown[THRESHOLDS_SHOWN:] else "")
    chosen = policy.thresholds.get("precision") if policy else None
    if chosen is None:
        return words
    measured = _explain_measured(chosen.measured_on)
    return f"for a precision of {chosen.wanted:g}{measured}: {words}"


def _explain_unknown(policy: Policy | None) -> str:
    if policy is None or policy.unknown is None:
        return ""
    unknown = policy.unknown
    return (
        f"score above {unknown.threshold:.3g}, as at most {100 * unknown.wanted:g} % of known "
        f"crops have{_explain_measured(unknown.measured_on)}"
    )


def _explain_measured(measured_on: MeasuredOn | None) -> str:
    if measured_on is None:
        return ""
    n, locations = measured_on.n, measured_on.locations
    return (
        f", chosen on {format_count(n, 'crop')} of {measured_on.split} at "
        f"{format_count(locations, 'location')}"
    )


def _explain_boxes(plan: PredictionPlan) -> str:
    options = plan.options
    if options.whole_images:
        return "none: each image was classified whole"
    least = f"from confidence {options.threshold:g}"
    if options.detections is None:
        return f"{options.model}, {least}"
    info = plan.results.info if plan.results else {}
    detector = info.get("detector")
    return f"{options.detections}{f' ({detector})' if detector else ''}, {least}"
