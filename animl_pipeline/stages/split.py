"""Divide the crops into train, val and test by location.

Reads   crops/crops.csv              the crops of every dataset
        crops/<crop>                 the pictures, to compare them across the splits
        --label-spec                 which categories make up each label (else: each is one)
Writes  dataset/dataset.csv          the crops that have a label, with label and split
        dataset/splits.json          the locations of each split
        dataset/label_index.json     the labels in order
        dataset/split_report.json    how good the split is, what was left out and why, the audit
        dataset/split_report.html    the same as a page to read
        With --folds all of these in dataset/fold_0, fold_1, ...; with --audit nothing.
"""

from typing import TYPE_CHECKING

from animl_pipeline.running.options import settings
from animl_pipeline.running.stage import Counts
from animl_pipeline.splitting.settings import Settings

if TYPE_CHECKING:
    from animl_pipeline.splitting.audit.existing import AuditPlan
    from animl_pipeline.splitting.plan import SplitPlan


@settings
class Options(Settings):
    """The options of `pipeline split`."""


def prepare(options: Options) -> "SplitPlan | AuditPlan":
    """Return where each crop goes, or with --audit the split that is there."""
    from animl_pipeline.splitting.plan import make_plan

    return make_plan(options)


def run(plan: "SplitPlan | AuditPlan") -> Counts:
    """Write the dataset, its split, and the proof beside it."""
    from animl_pipeline.report import split_page
    from animl_pipeline.splitting import outputs, report, summary
    from animl_pipeline.splitting.audit import existing

    if isinstance(plan, existing.AuditPlan):
        return existing.count_leaks(plan)
    reports = report.build_reports(plan)
    for folder, division in plan.divisions.items():
        page = split_page.render(reports[folder], outputs.make_table(division))
        outputs.write_split(
            folder, division, reports[folder], page, megadetector=plan.options.classification_ds
        )
    outputs.remove_stale(plan.options)
    return summary.count_splits(plan, reports)
