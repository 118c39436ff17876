"""What `detect` can be told: by which network, what is kept, and how many at a time."""

from pathlib import Path
from typing import Annotated, ClassVar

from animl_pipeline.running.options import option, settings

MODELS = ("MDV5A", "MDV5B", "redwood", "spruce", "larch", "sorrel", "cedar")


@settings
class DetectionRules:
    """What decides what is detected in an image."""

    panel: ClassVar[str] = "What is detected"
    model: Annotated[
        str,
        option(
            f"{', '.join(MODELS)}, or a weights file. A weights file can run code when it is "
            "loaded: only one that you trust."
        ),
    ] = MODELS[0]
    threshold: Annotated[
        float, option("Least confidence of a detection that is kept.", ge=0.0, le=1.0)
    ] = 0.1
    image_size: Annotated[
        int | None,
        option("Longer side of what the network sees; default: the model's.", ge=32, le=8192),
    ] = None


@settings
class Machine:
    """What decides only how fast it goes."""

    panel: ClassVar[str] = "Speed"
    device: Annotated[str, option("Where to compute: auto, cpu, cuda or mps.")] = "auto"
    batch_size: Annotated[
        int | None, option("Images at a time; default: 16, on a CPU 1.", ge=1, le=1024)
    ] = None
    workers: Annotated[int, option("Images opened at a time.", ge=1, le=256)] = 4


@settings
class Settings(DetectionRules, Machine):
    """All of them, and what is read and written."""

    panel: ClassVar[str] = "Inputs and outputs"
    images_dir: Annotated[Path, option("Folder of the images.")] = Path("images")
    output_file: Annotated[Path, option("The results.")] = Path("detections.json")
    tolerate: Annotated[
        float,
        option("Fraction of images that may fail before the exit code is 3.", ge=0.0, le=1.0),
    ] = 0.01
