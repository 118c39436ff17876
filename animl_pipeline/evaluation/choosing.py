"""Choose the policy of a run: what val of its own dataset tells, and is applied from then on."""

from animl_pipeline.artifacts.names import REFERENCE, WEIGHTS
from animl_pipeline.artifacts.splits import TEST, VAL
from animl_pipeline.classifier.predictions import Predictions
from animl_pipeline.evaluation import operating, unknown
from animl_pipeline.evaluation.cameras import choose_cameras, summarise_locations
from animl_pipeline.evaluation.plan import EvaluationPlan
from animl_pipeline.files import whole
from animl_pipeline.runs.policy import MeasuredOn, Policy, Temperature, Thresholds


def choose_policy(
    plan: EvaluationPlan, splits: dict[str, Predictions], temperature: float
) -> Policy:
    """Return the policy from the calibrated predictions of val.

    Cameras are those of val and test, where the run is as good as it is at new ones.
    """
    val = splits[VAL]
    on = _name_crops(plan, {VAL: val})
    unknown_chosen = unknown.choose_unknown(val, on)
    held_out = {name: splits[name] for name in (VAL, TEST) if name in splits}
    empty_label = plan.settings.empty_label
    return Policy(
        weights=whole.digest(plan.run_folder / WEIGHTS.name, "sha256"),
        temperature=Temperature(value=temperature, measured_on=on),
        thresholds={
            metric: Thresholds(
                wanted=wanted,
                per_label=operating.choose_thresholds(val, metric=metric, wanted=wanted),
                measured_on=on,
            )
            for metric, wanted in plan.settings.name_targets().items()
        },
        empty_label=empty_label if empty_label in val.labels else None,
        reference=whole.digest(plan.run_folder / REFERENCE.name, "sha256")
        if unknown_chosen
        else None,
        unknown=unknown_chosen,
        cameras=choose_cameras(
            summarise_locations(list(held_out.values())), _name_crops(plan, held_out)
        )
        if unknown_chosen
        else None,
    )


def _name_crops(plan: EvaluationPlan, splits: dict[str, Predictions]) -> MeasuredOn:
    """Return the crops of some splits, as what is chosen on them names them."""
    locations = {location for of in splits.values() for location in of.locations}
    return MeasuredOn(
        split=", ".join(splits),
        dataset_fingerprint=plan.dataset_fingerprint,
        n=sum(map(len, splits.values())),
        locations=len(locations),
    )
