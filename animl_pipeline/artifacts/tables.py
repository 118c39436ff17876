"""Every table one stage hands to another, and its columns."""

from dataclasses import dataclass

CONFIDENCE = "confidence"
PROBABILITY = "prob_"  # before a label: the columns of its probabilities


@dataclass(frozen=True)
class Column:
    """A column: what it holds, whether a cell may be empty, and where its numbers lie."""

    name: str
    description: str
    kind: type[str | float | int] = str
    may_be_empty: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Table:
    """A CSV between two stages, written by `stage`; no two rows have the same `key`.

    Columns of numbers whose names begin with `prefix` follow the others.
    """

    name: str
    stage: str
    description: str
    columns: tuple[Column, ...]
    key: str = ""
    prefix: str = ""

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def written_by(self) -> str:
        """The command that writes the table."""
        return f"pipeline {self.stage}"


CROP = Column("crop", "Path of the crop in the folder of the crops.")
IMAGE = Column("image", "`file_name` of the image.")
IMAGE_ID = Column("image_id", "Id of the image in the COCO file.")
ANNOTATION_ID = Column("annotation_id", "Id of the annotation in the COCO file.", may_be_empty=True)
DATASET_NAME = Column("dataset", "Name of the dataset.")
LOCATION = Column("location", "Where the camera stood.", may_be_empty=True)
LABEL = Column("label", "Name to train on.")
SPLIT = Column("split", "`train`, `val`, `test` or `seen_test`.")
REASON = Column("reason", "Why, in words.")
CROPS = Table(
    "crops.csv",
    "crop",
    "One row per crop, of every dataset cropped so far.",
    (
        CROP,
        IMAGE,
        IMAGE_ID,
        ANNOTATION_ID,
        DATASET_NAME,
        LOCATION,
        Column("datetime", "When the image was taken, as the COCO file says.", may_be_empty=True),
        Column("sequence", "Which burst the image belongs to.", may_be_empty=True),
        Column("category", "Name of the animal in the COCO file."),
        Column(CONFIDENCE, "The detector's, or 1 for a box of a person.", float, low=0, high=1),
        Column("x", "Left edge of the box, as a fraction of the width.", float, low=0, high=1),
        Column("y", "Top edge of the box, as a fraction of the height.", float, low=0, high=1),
        Column("width", "Width of the box, as a fraction of the width.", float, low=0, high=1),
        Column("height", "Height of the box, as a fraction of the height.", float, low=0, high=1),
    ),
    key="crop",
)
DATASET = Table(
    "dataset.csv",
    "split",
    "One row per crop that is used, with its label and its split.",
    (*CROPS.columns, LABEL, SPLIT),
    key="crop",
)
TRAINED_ON = Table(
    "trained_on.csv",
    "train",
    "The crops of train and val that a run has seen.",
    (CROP, IMAGE_ID, DATASET_NAME, LOCATION, LABEL, SPLIT),
)
REASONS = Table(
    "failures.csv",
    "crop",
    "Every row of the COCO file that gave no crop, and why.",
    (
        Column("image", "`file_name` of the image.", may_be_empty=True),
        ANNOTATION_ID,
        REASON,
    ),
)
LEDGER = Table(
    "download.csv",
    "download",
    "One row per image of the COCO file: what became of it.",
    (
        Column("image_id", "Id of the image in the COCO file.", may_be_empty=True),
        Column("file_name", "Path of the image in the folder of the images.", may_be_empty=True),
        Column("key", "Where the source has the image.", may_be_empty=True),
        Column("state", "`present`, `downloaded`, or why it is not there."),
        Column("bytes", "Size of the file.", may_be_empty=True),
        Column("md5", "MD5 of the file.", may_be_empty=True),
        Column("reason", "Why, in words.", may_be_empty=True),
    ),
)
HISTORY = Table(
    "history.csv",
    "train",
    "One row per epoch of training.",
    (
        Column("epoch", "Number of the epoch, from 0.", int),
        Column("lr", "Learning rate at its end.", float),
        Column("train_loss", "Mean loss over the crops it was trained on.", float),
        Column("val_loss", "Mean loss on val.", float, may_be_empty=True),
        Column("val_balanced_accuracy", "Mean recall of the labels on val.", float, True),
        Column("val_macro_average_precision", "Mean over the labels on val.", float, True),
        Column("seconds", "How long the epoch took.", float),
        Column("images_per_second", "Crops trained on per second.", float),
    ),
    key="epoch",
)
LABEL_ERRORS = Table(
    "label_errors.csv",
    "evaluate",
    "The crops whose label may be wrong, the likeliest first.",
    (
        IMAGE,
        IMAGE_ID,
        ANNOTATION_ID,
        CROP,
        DATASET_NAME,
        LOCATION,
        LABEL,
        Column("suggested", "The label that the classifier thinks likelier."),
        Column("probability", "Probability of the suggested label.", float),
        Column("margin", "Its lead over the probability of the label.", float),
    ),
    key="crop",
)
PREDICTIONS = Table(
    "predictions.csv",
    "evaluate",
    "One row per crop of a split: what the classifier says of it.",
    (
        CROP,
        IMAGE,
        DATASET_NAME,
        LOCATION,
        LABEL,
        Column("predicted", "The label of the largest probability."),
    ),
    key="crop",
    prefix=PROBABILITY,
)
DATETIME = Column("datetime", "When the image was taken, where that is known.", may_be_empty=True)
SEQUENCE = Column("sequence", "The burst it belongs to: its first image.", may_be_empty=True)
DECISION = Column("decision", "`accept`, `review`, `alarm` or `empty`.")
RULE = Column("reason", "Which threshold or rule decided.")
PREDICTED_BOXES = Table(
    "predictions.csv",
    "predict",
    "One row per box: what the classifier says of it, and what follows.",
    (
        IMAGE,
        LOCATION,
        DATETIME,
        SEQUENCE,
        *CROPS.columns[-4:],
        Column(CONFIDENCE, "The detector's.", float, low=0, high=1),
        Column("label", "The likeliest label, or the detector's person or vehicle.", str, True),
        Column("probability", "Its probability, 0 to 1.", float, True),
        Column(
            "unknown", "How unlike anything learned it is; the higher, the less alike.", float, True
        ),
        DECISION,
        RULE,
    ),
    prefix=PROBABILITY,
)
LABELS_SEEN = Column("labels", "The labels, with `;` between.", may_be_empty=True)
PREDICTED_IMAGES = Table(
    "images.csv",
    "predict",
    "One row per image.",
    (
        IMAGE,
        LOCATION,
        DATETIME,
        SEQUENCE,
        LABELS_SEEN,
        Column("count", "Boxes of animals.", int),
        Column("probability", "The one that decided.", float, True),
        DECISION,
        RULE,
    ),
    key="image",
)
PREDICTED_SEQUENCES = Table(
    "sequences.csv",
    "predict",
    "One row per sequence.",
    (
        Column("sequence", "Its name: its first image."),
        LOCATION,
        Column("start", "When its first image was taken.", may_be_empty=True),
        Column("end", "When its last image was taken.", may_be_empty=True),
        Column("images", "How many images it has.", int),
        LABELS_SEEN,
        Column("count", "The most animals seen at once.", int),
        Column("probability", "The one that decided.", float, True),
        DECISION,
        RULE,
    ),
    key="sequence",
)
UNREADABLE_IMAGES = Table(
    "failures.csv",
    "predict",
    "Every image that nothing can be said of, and why.",
    (IMAGE, REASON),
    key="image",
)
TABLES = (
    LEDGER,
    CROPS,
    REASONS,
    DATASET,
    TRAINED_ON,
    HISTORY,
    PREDICTIONS,
    LABEL_ERRORS,
    PREDICTED_BOXES,
    PREDICTED_IMAGES,
    PREDICTED_SEQUENCES,
    UNREADABLE_IMAGES,
)
