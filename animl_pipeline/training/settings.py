"""What a training run can be told: where, what is learned, for how long, and how fast."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from animl_pipeline.running.options import list_knobs, option, settings

BATCH_SIZE_AUTO = 80  # the published one


class Optimizer(StrEnum):
    """What turns gradients into steps."""

    RMSPROP = "rmsprop"
    ADAMW = "adamw"


class Schedule(StrEnum):
    """How the learning rate falls."""

    STEP = "step"  # after every epoch, by optimisation.DECAY
    COSINE = "cosine"  # with every step, along half a cosine to 0 at the end of the epochs
    CONSTANT = "constant"


class SelectBy(StrEnum):
    """The metric on val by which an epoch is the best."""

    MACRO_AP = "macro-ap"
    BALANCED_ACCURACY = "balanced-accuracy"
    LOSS = "loss"

    @property
    def column(self) -> str:
        """The column of history.csv that holds the metric."""
        return {
            SelectBy.MACRO_AP: "val_macro_average_precision",
            SelectBy.BALANCED_ACCURACY: "val_balanced_accuracy",
            SelectBy.LOSS: "val_loss",
        }[self]

    def as_score(self, value: float) -> float:
        """Return a value of the metric as a score, of which more is better."""
        return -value if self is SelectBy.LOSS else value


class Freeze(StrEnum):
    """Which weights of a network stay as they were loaded."""

    NONE = "none"
    HEAD = "head"  # all but the head's
    STAGED = "staged"  # all but the head's, for the first epochs

    def is_on(self, epoch: int, *, unfreeze_after: int) -> bool:
        """Return whether all but the head is frozen in an epoch, counted from 0."""
        return self is Freeze.HEAD or (self is Freeze.STAGED and epoch < unfreeze_after)


class Augmentation(StrEnum):
    """How strongly crops are changed at random while training."""

    NONE = "none"
    LIGHT = "light"
    DEFAULT = "default"
    STRONG = "strong"


@settings
class Folders:
    """Where a run reads and writes."""

    panel: ClassVar[str] = "Inputs and outputs"
    dataset_dir: Annotated[Path, option("Folder of the dataset.")] = Path("dataset")
    crops_dir: Annotated[Path, option("Folder of the crops.")] = Path("crops")
    logdir: Annotated[Path, option("Folder of all runs.")] = Path("runs")
    run_name: Annotated[
        str | None, option("Name of this run; default: the network and a hash of options and data.")
    ] = None


@settings
class Recipe:
    """What decides what is learned: a run with another recipe is another run.

    An option belongs here if, and only if, another value may give other weights.
    """

    panel: ClassVar[str] = "What is learned"
    model_name: Annotated[str, option("efficientnet-b0 to -b7, or any network of timm.")] = (
        "efficientnet-b3"
    )
    pretrained: Annotated[bool, option("Start from ImageNet weights (downloaded once).")] = True
    weights: Annotated[
        Path | None,
        option(
            "Start from this instead: a run's folder, .safetensors, or a ckpt_*.pt of "
            "MegaDetector's trainer. The head is new where the labels differ."
        ),
    ] = None
    freeze: Annotated[
        Freeze,
        option(
            "What keeps the weights it starts from: head: all but the head; staged: the same, for "
            "the first epochs."
        ),
    ] = Freeze.NONE
    unfreeze_after: Annotated[int, option("Epochs for which --freeze staged holds.", ge=1)] = 5
    cache_embeddings: Annotated[
        bool,
        option("Train the head on a frozen network's features, made once: minutes on a laptop."),
    ] = False
    augmentation: Annotated[
        Augmentation, option("How much crops are changed while training: see augmentation.jpg.")
    ] = Augmentation.DEFAULT
    image_size: Annotated[
        int | None, option("Side in pixels; default: the network's own (B3: 300).", ge=64)
    ] = None
    label_weighted: Annotated[bool, option("Show each label equally often.")] = True
    loss_weighted: Annotated[
        bool, option("Weight the labels in the loss instead, and show each crop once per epoch.")
    ] = False
    confidence_weighted: Annotated[
        bool, option("Within a label, weight crops by the detector's confidence.")
    ] = False
    effective_number: Annotated[
        float,
        option(
            "Beta of the effective number of crops by which labels are weighted (Cui et al. 2019), "
            "such as 0.999; 1: by their number.",
            ge=0.0,
            le=1.0,
        ),
    ] = 1.0
    label_smoothing: Annotated[float, option("As in cross_entropy.", ge=0.0, le=0.9)] = 0.0
    batch_size: Annotated[
        Annotated[int, Ge(1)] | Literal["auto"],
        option("Crops per step, of all processes; auto: 80, in pieces that fit in memory."),
    ] = 80
    optimizer: Annotated[Optimizer, option("What makes the steps.")] = Optimizer.RMSPROP
    lr: Annotated[float, option("Learning rate; from scratch about 1e-3.", ge=0.0)] = 3e-5
    lr_schedule: Annotated[
        Schedule, option("step: 0.97 per 2.4 epochs; cosine: to 0 at the end of --epochs.")
    ] = Schedule.STEP
    warmup_epochs: Annotated[
        float, option("Epochs in which the rate rises to its full.", ge=0.0)
    ] = 0.0
    ema_epochs: Annotated[
        float,
        option(
            "Epochs over whose steps the kept weights are averaged (exponential moving average); "
            "0: those of the last step.",
            ge=0.0,
        ),
    ] = 1.0
    weight_decay: Annotated[float, option("Weight decay.", ge=0.0)] = 1e-6
    select_by: Annotated[SelectBy, option("The metric on val of the best epoch.")] = (
        SelectBy.MACRO_AP
    )
    precision: Annotated[str, option("auto, 32-true, bf16-mixed or 16-mixed.")] = "auto"
    device: Annotated[str, option("auto, cpu, cuda or mps.")] = "auto"
    seed: Annotated[int, option("Same seed, same run (on the CPU).", ge=0, le=2**31 - 1)] = 0

    @property
    def crops_per_step(self) -> int:
        """The batch size as a number."""
        return self.batch_size if isinstance(self.batch_size, int) else BATCH_SIZE_AUTO


@settings
class Course:
    """How long a run goes on, and what is kept and shown on the way."""

    panel: ClassVar[str] = "Course"
    epochs: Annotated[int, option("At most so many.", ge=1)] = 50
    patience: Annotated[
        int, option("Stop after so many epochs without a better; 0: never.", ge=0)
    ] = 8
    resume: Annotated[bool, option("Go on with this run where it stopped; else start it over.")] = (
        True
    )
    save_minutes: Annotated[
        float, option("Save last.pt so often within an epoch, too; 0: after every step.", ge=0.0)
    ] = 10.0
    log_extreme_examples: Annotated[
        int, option("Most confident hits and misses per label shown in TensorBoard.", ge=0)
    ] = 3


@settings
class Machine:
    """What decides only how fast a run is."""

    panel: ClassVar[str] = "Speed"
    num_workers: Annotated[
        int | None, option("Processes that read crops; default: cores.", ge=0)
    ] = None
    cache_gb: Annotated[
        float,
        option("Gigabytes of decoded crops kept beside the crops; 0: decode each time.", ge=0.0),
    ] = 10.0


@settings
class TrainOptions(Folders, Recipe, Course, Machine):
    """The knobs of `pipeline train`."""


def list_decisive_values(recipe: Recipe, *, epochs: int) -> dict[str, Any]:
    """Return the values that decide what is learned, by name: the fields of Recipe.

    The weights it starts from are left out: they count by their content, not by their path.
    """
    values = {knob.name: getattr(recipe, knob.name) for knob in list_knobs(Recipe)}
    del values["weights"]
    if recipe.lr_schedule is Schedule.COSINE:
        values["epochs"] = epochs  # it ends where they do
    return values
