"""Score a trained classifier by average precision.

Reads   runs/latest/model.safetensors, model.json   the classifier
        runs/latest/policy.json                     the temperature, where one was kept
        runs/latest/trained_on.csv                  the crops it was trained on
        dataset/dataset.csv, crops/<crop>           as it was trained with
Writes  runs/<name>/evaluation/predictions_<split>.csv   a probability per crop and label
        runs/<name>/evaluation/label_errors_<split>.csv  labels to look at again
        runs/<name>/evaluation/metrics.json              every metric
        runs/<name>/evaluation/report.html               one page to read
        runs/<name>/policy.json                          what was chosen on val, and is applied
        runs/<name>/reference.safetensors                what the crops of train are like
"""

import logging
from typing import TYPE_CHECKING

from animl_pipeline.evaluation.settings import Settings
from animl_pipeline.running.options import make_plain, settings, write_command_line
from animl_pipeline.running.stage import Counts, load

if TYPE_CHECKING:
    from animl_pipeline.evaluation.plan import EvaluationPlan

logger = logging.getLogger(__name__)


@settings
class Options(Settings):
    """The knobs of `pipeline evaluate`."""


def prepare(options: Options) -> "EvaluationPlan":
    """Read the run, the dataset and what it is compared with; refuse what cannot be scored."""
    from animl_pipeline.evaluation.plan import make_plan

    return make_plan(options)


def run(plan: "EvaluationPlan") -> Counts:
    """Predict every crop of the splits, then score, compare and report."""
    from animl_pipeline.evaluation.evaluating import evaluate
    from animl_pipeline.report.outputs import summarize, write_outputs
    from animl_pipeline.runs.policy import write_policy

    train = write_command_line("train", load("train").Options, plan.predictor.card.options)
    evaluation = evaluate(
        plan, [train, write_command_line("evaluate", Options, make_plain(plan.settings))]
    )
    content = evaluation.document
    for warning in content.warnings:
        logger.warning(warning)
    if evaluation.policy:
        try:
            write_policy(plan.run_folder, evaluation.policy)
        except OSError as error:
            logger.warning("The temperature and thresholds are in metrics.json alone: %s", error)
    write_outputs(evaluation, plan)
    unreadable = sum(lost["n"] for lost in content.unreadable.values())
    page = plan.folder / "report.html"
    return Counts(
        items={"crops": sum(of["n"] for of in content.splits.values()), "unreadable": unreadable},
        summary="\n  ".join([*summarize(content), f"-> {page}"]),
        failed=unreadable,
        total=evaluation.n + unreadable,
        tolerate=plan.settings.tolerate,
    )
