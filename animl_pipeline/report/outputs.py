"""Write all files of an evaluation, and say in a few lines what came of it."""

from animl_pipeline.artifacts import table_io, tables
from animl_pipeline.artifacts.names import METRICS, PAGE
from animl_pipeline.artifacts.splits import VAL
from animl_pipeline.evaluation import document, md_evaluator
from animl_pipeline.evaluation.document import Document
from animl_pipeline.evaluation.evaluating import Evaluation
from animl_pipeline.evaluation.plan import EvaluationPlan
from animl_pipeline.files import whole
from animl_pipeline.report import gallery, page


def write_outputs(evaluation: Evaluation, plan: EvaluationPlan) -> None:
    """Write the tables, metrics.json and the page into the plan's folder."""
    folder, splits, predictor = plan.folder, evaluation.splits, plan.predictor
    beside = {} if evaluation.val is None else {VAL: evaluation.val}
    for name, split in (splits | beside).items():
        table_io.write(tables.PREDICTIONS, folder / f"predictions_{name}.csv", split.to_table())
    for name, split in splits.items():
        suspects = document.list_label_errors(split)
        table_io.write(tables.LABEL_ERRORS, folder / f"label_errors_{name}.csv", suspects)
    whole.write_json(folder / METRICS.name, evaluation.document.as_json())
    if plan.settings.md_files:
        md_evaluator.write_md_files(folder, splits)
    network = predictor.network if plan.settings.grad_cam else None
    text = page.render(
        evaluation.document,
        splits,
        run_name=plan.run_folder.name,
        history=plan.history,
        pictures=gallery.Pictures(plan.crops_dir, predictor.card, network),
    )
    whole.write_text(folder / PAGE.name, text)


def summarize(content: Document) -> list[str]:
    """Return the lines that the command ends with: each split and its labels, the comparison."""
    lines = []
    for split, metrics in content.splits.items():
        interval = metrics["intervals"].get("macro_average_precision")
        words = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        lines.append(
            f"{split}: macro average precision {metrics['macro_average_precision']:.3f}{words}, "
            f"accuracy {metrics['accuracy']:.3f}, {metrics['n']:,} crops at "
            f"{len(metrics['by_location']):,} locations"
        )
        for label, of_label in metrics["per_label"].items():
            ap = of_label["average_precision"]
            shown = "   -" if ap is None else f"{ap:.3f}"
            lines.append(f"  {label:<24} {shown}  n {of_label['n']:,}")
    compared = content.comparison
    return lines + ([f"beside {compared['other']}: {compared['in_words']}"] if compared else [])
