"""What `predict` can be told: by which run, what is looked at, and what follows from it."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from animl_pipeline.catalogue.sequences import GAP_SECONDS
from animl_pipeline.detection.settings import MODELS
from animl_pipeline.running.options import option, settings


@settings
class Folders:
    """What is read, and where the answers go."""

    panel: ClassVar[str] = "Inputs and outputs"
    images_dir: Annotated[
        Path, option("Folder of the images, with all folders below.", positional=True)
    ] = Path("images")
    run_dir: Annotated[
        Path | None,
        option(
            "Folder of the trained run; default: runs/current if it is there, else runs/latest."
        ),
    ] = None
    output_dir: Annotated[Path, option("Folder for the answers.")] = Path("predictions")
    tolerate: Annotated[
        float,
        option("Fraction of images that may fail before the exit code is 3.", ge=0.0, le=1.0),
    ] = 0.01


@settings
class Boxes:
    """Which parts of an image are classified."""

    panel: ClassVar[str] = "Which parts are classified"
    detections: Annotated[
        Path | None,
        option("MegaDetector results of these images; default: it looks at them on the way."),
    ] = None
    model: Annotated[
        str,
        option(
            f"The detector: {', '.join(MODELS)}, or a weights file. A weights file can run code "
            "when it is loaded: only one that you trust."
        ),
    ] = MODELS[0]
    whole_images: Annotated[
        bool, option("Classify whole images, by a classifier that was trained on such.")
    ] = False
    threshold: Annotated[
        float, option("Least confidence of a detection that is kept.", ge=0.0, le=1.0)
    ] = 0.2


@settings
class Cameras:
    """Where and when an image was taken."""

    panel: ClassVar[str] = "Where and when"
    coco_file: Annotated[
        Path | None, option("COCO file with the images' locations, datetimes and sequences.")
    ] = None
    locations: Annotated[
        Path | None, option("CSV of two columns: `image` or `folder`, and `location`.")
    ] = None
    location_level: Annotated[
        int,
        option(
            "How deep below the images the folder of a location is; 0: all images are of one.",
            ge=0,
            le=64,
        ),
    ] = 1
    sequence_gap: Annotated[
        float, option("Seconds between two images of one sequence at most.", ge=0.0)
    ] = GAP_SECONDS


@settings
class Deciding:
    """What is accepted without a look."""

    panel: ClassVar[str] = "What is accepted"
    label_threshold: Annotated[
        tuple[str, ...],
        option(
            "LABEL=VALUE, such as fox=0.9: the least probability at which a label is accepted; may "
            "be given several times. Default: what `evaluate` chose."
        ),
    ] = ()


@settings
class Machine:
    """What decides only how fast it goes."""

    panel: ClassVar[str] = "Speed"
    engine: Annotated[
        Literal["auto", "onnx", "torch"],
        option("What runs the classifier; auto: onnx on a CPU, torch on a GPU."),
    ] = "auto"
    device: Annotated[str, option("Where to compute: auto, cpu, cuda or mps.")] = "auto"
    batch_size: Annotated[
        int | None, option("Crops classified at a time; default: 16, on a GPU 128.", ge=1, le=4096)
    ] = None
    workers: Annotated[
        int | None, option("Images opened at a time; default: one for each core.", ge=1, le=256)
    ] = None


@settings
class Settings(Folders, Boxes, Cameras, Deciding, Machine):
    """All that `predict` can be told."""
