"""Train a label-weighted EfficientNet on the crops.

Reads   dataset/dataset.csv             crops with label and split; test is never looked at
        dataset/label_index.json        the labels in order
        crops/<crop>                    the pictures
Writes  runs/<name>/model.safetensors   the weights of the best epoch
        runs/<name>/model.json          all that a user of the weights needs to know
        runs/<name>/last.pt             the full state after the last epoch, to go on from
        runs/<name>/trained_on.csv      the crops of train and val
        runs/<name>/history.csv         one row per epoch; TensorBoard events beside it
        runs/<name>/augmentation.jpg    a crop of each label as training sees it
        crops/.cache/                   decoded crops, or what a frozen network says of them
        runs/latest                     points at the newest run
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from animl_pipeline.artifacts.splits import TRAIN, VAL
from animl_pipeline.running.markers import require_inputs
from animl_pipeline.running.stage import Counts
from animl_pipeline.running.stage import Plan as StagePlan
from animl_pipeline.training.settings import TrainOptions as Options


@dataclass(frozen=True, kw_only=True)
class Plan(StagePlan):
    """What a run starts with."""

    options: Options
    start: Any  # training.session.Start


def prepare(options: Options) -> Plan:
    """Read the dataset and the weights to start from, and find out which run it is."""
    from animl_pipeline.training import session

    start = session.prepare_start(options, partial(require_inputs, "train"))
    return Plan(folder=start.run.folder, inputs=start.inputs, options=options, start=start)


def run(plan: Plan) -> Counts:
    """Train, or go on training, until the epochs are done or nothing gets better."""
    from animl_pipeline.training import session

    progress = session.train(plan.start, plan.options)
    epochs, best, splits = len(progress.history), progress.best_epoch, plan.start.dataset["split"]
    score = progress.history[best]["val_macro_average_precision"]
    return Counts(
        items={
            "epochs": epochs,
            "best epoch": best + 1,
            "train": int((splits == TRAIN).sum()),
            "val": int((splits == VAL).sum()),
        },
        summary=f"best of {epochs} epochs is {best + 1}, with macro average precision {score:.3f} "
        f"on val -> {plan.folder}\n  curves: tensorboard --logdir {plan.options.logdir}",
    )
