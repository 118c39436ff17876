"""What `crop` can be told: which boxes are cut, how, and how many at a time."""

from pathlib import Path
from typing import Annotated, ClassVar

from animl_pipeline.running.options import option, settings


@settings
class SelectionRules:
    """What decides which boxes become crops."""

    panel: ClassVar[str] = "Which boxes are cut"
    threshold: Annotated[
        float, option("Least confidence of a detection that is cut.", ge=0.0, le=1.0)
    ] = 0.2
    iou: Annotated[
        float,
        option(
            "A detection that overlaps a box of the COCO file by so much (intersection over "
            "union) is that box.",
            ge=0.01,
            le=1.0,
        ),
    ] = 0.5
    sequence_labels: Annotated[
        bool, option("A label of a whole sequence is one of every image of it, for its detections.")
    ] = False
    include_unvalidated: Annotated[bool, option("Also cut boxes that no person validated.")] = False


@settings
class CropRule:
    """What decides how a box is cut; a network has to be shown crops that were cut alike."""

    panel: ClassVar[str] = "How they are cut"
    square_crops: Annotated[bool, option("Cut the tightest square; else the box as it is.")] = True
    margin: Annotated[
        float, option("Room on each side, as a fraction of the square's side.", ge=0.0, le=2.0)
    ] = 0.0
    quality: Annotated[int, option("JPEG quality.", ge=1, le=100)] = 95
    max_side: Annotated[
        int | None, option("Pixels a crop's side is stored with at most; default: as it is.", ge=16)
    ] = None


@settings
class Machine:
    """What decides only how fast it goes."""

    panel: ClassVar[str] = "Speed"
    workers: Annotated[
        int | None, option("Images cut at a time; default: two for each core.", ge=1, le=256)
    ] = None


@settings
class Settings(SelectionRules, CropRule, Machine):
    """All of them, and what is read and written."""

    panel: ClassVar[str] = "Inputs and outputs"
    coco_file: Annotated[Path, option("The COCO file.")] = Path("images/cct.json")
    images_dir: Annotated[Path, option("Folder of the images.")] = Path("images")
    detections: Annotated[
        Path | None, option("MegaDetector results, for animals that no person drew a box around.")
    ] = None
    output_dir: Annotated[Path, option("Folder for the crops.")] = Path("crops")
    dataset: Annotated[str | None, option("Name of this dataset; default: its Animl project.")] = (
        None
    )
    tolerate: Annotated[
        float,
        option("Fraction of boxes whose image may fail before the exit code is 3.", ge=0.0, le=1.0),
    ] = 0.01
