"""MegaDetector's own validator of results."""

from pathlib import Path

import pytest
from PIL import ImageFile


def errors_of_megadetector(path: Path) -> list[str]:
    """What MegaDetector's own validator has against a file."""
    load_truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    validate = pytest.importorskip("megadetector.postprocessing.validate_batch_results")
    ImageFile.LOAD_TRUNCATED_IMAGES = load_truncated  # the import sets it for the whole process
    found = validate.validate_batch_results(str(path))["validation_results"]
    return [*found["errors"], *found["warnings"]]
