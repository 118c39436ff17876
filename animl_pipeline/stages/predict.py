"""Say what is in a folder of new images, and what a person has to look at.

Reads   images/                              the images, in all folders below
        runs/current or runs/latest          the classifier, and its policy.json
        --detections                         MegaDetector results; else it detects on the way
        --coco-file, --locations             where and when the images were taken
Writes  predictions/results.json             the answers, as MegaDetector results (format 1.6)
        predictions/predictions.csv          one row per box
        predictions/images.csv               one row per image
        predictions/sequences.csv            one row per sequence
        predictions/failures.csv             every image that could not be read, and why
        predictions/overview.html            one page to look at
        Beside them .predict.answers: what was answered so far, for the next time.
"""

from typing import TYPE_CHECKING

from animl_pipeline.artifacts.names import OVERVIEW
from animl_pipeline.prediction.settings import Settings
from animl_pipeline.running.options import settings
from animl_pipeline.running.progress import say
from animl_pipeline.running.stage import Counts

if TYPE_CHECKING:
    from animl_pipeline.prediction.plan import PredictionPlan

UNLIKE = 10  # locations that are named on the terminal


@settings
class Options(Settings):
    """The knobs of `pipeline predict`."""


def prepare(options: Options) -> "PredictionPlan":
    """Read the run and what is known of the images; refuse what cannot be predicted."""
    from animl_pipeline.prediction.plan import make_plan

    return make_plan(options)


def run(plan: "PredictionPlan") -> Counts:
    """Look at every image that is new or changed, and write what follows for all of them."""
    from animl_pipeline.prediction import filling, store
    from animl_pipeline.report.answers import write_all

    with store.Store(plan.folder / store.NAME, plan.settings) as answers:
        if answers.begun_anew:
            say(f"predict: {answers.begun_anew}: every image is looked at anew")
        looked_at = filling.fill_store(answers, plan)
        written = write_all(answers, plan)
        images, failed = answers.count(), answers.count_failed()
    decided = {
        f"{decision} {of}": count
        for of, counts in (("images", written.images), ("sequences", written.sequences))
        for decision, count in counts.items()
    }
    videos = len(plan.listing.videos)
    lines = [
        f"{images:,} images ({looked_at:,} looked at now): "
        + ", ".join(f"{count:,} {decision}" for decision, count in written.images.items())
        + f"; {failed:,} failed"
        + (f"; not read, as videos: {videos:,}" if videos else "")
        + f" -> {plan.folder / OVERVIEW.name}"
        + ("" if written.is_new else ", which is up to date"),
        *(f"unlike the cameras it was tested on: {words}" for words in written.unlike[:UNLIKE]),
    ]
    return Counts(
        items={"images": images, "failed": failed, "videos not read": videos} | decided,
        summary="\n  ".join(lines),
        failed=failed,
        total=images,
        tolerate=plan.options.tolerate,
    )
