"""One module per command, and the list of them: a new stage is its module and an entry here."""

from animl_pipeline.running.stage import Entry

BESIDE = "Beside it"
# In the order in which `pipeline run` performs them.
STAGES = {
    "check": Entry(
        "Say what is wrong or odd in a COCO file, before any work; it needs no images.",
        panel=BESIDE,
        examples=("pipeline check export.json",),
        is_one_file=True,
    ),
    "convert": Entry(
        "Turn a COCO file into MegaDetector results, or results into a COCO file.",
        panel=BESIDE,
        examples=(
            "pipeline convert export.json results.json",
            "pipeline convert results.json export.json --to coco",
        ),
        is_one_file=True,
    ),
    "download": Entry(
        "Fetch every image of a COCO file from S3, a web address or a folder, verified.",
        examples=(
            "pipeline download export.json --dry-run",
            "pipeline download export.json --source /media/card",
        ),
    ),
    "detect": Entry(
        "Run MegaDetector over a folder of images.",
        examples=("pipeline detect --images-dir images --model MDV5A",),
        is_one_file=True,
    ),
    "crop": Entry(
        "Cut the square around every animal's box.",
        examples=("pipeline crop", "pipeline crop --detections detections.json --threshold 0.3"),
    ),
    "split": Entry(
        "Divide the crops into train, val and test by location.",
        examples=(
            "pipeline split --label-spec my_labels.json",
            "pipeline split --match-test dataset_of_spring",
        ),
    ),
    "train": Entry(
        "Train a label-weighted EfficientNet on the crops.",
        examples=("pipeline train", "pipeline train --freeze head --cache-embeddings"),
        is_for_several=True,
    ),
    "evaluate": Entry(
        "Score a trained classifier by average precision, with intervals and a page to read.",
        examples=(
            "pipeline evaluate",
            "pipeline evaluate --run-dir runs/mine --compare runs/older",
        ),
    ),
    "predict": Entry(
        "Say what is in a folder of new images, and what a person has to look at.",
        examples=(
            "pipeline predict /media/card",
            "pipeline predict images --detections detections.json --label-threshold fox=0.9",
        ),
    ),
}
