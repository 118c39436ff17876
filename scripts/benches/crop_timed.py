"""Crop with our stage or MegaDetector's; print the seconds and processor seconds once loaded."""

import sys
import time
from pathlib import Path

boxes, images_dir, crops_dir, threads = sys.argv[1:]
if threads:
    from megadetector.classification import crop_detections
else:
    import pandas  # noqa: F401 - what the stage loads later

    from animl_pipeline.running import perform
    from animl_pipeline.stages import crop

start = time.perf_counter(), time.process_time()
if threads:
    crop_detections.main(
        detections_json_path=boxes,
        cropped_images_dir=crops_dir,
        images_dir=images_dir,
        container_url=None,
        detector_version=None,
        save_full_images=False,
        square_crops=True,
        check_crops_valid=False,
        confidence_threshold=0.0,
        threads=int(threads),
        logdir=crops_dir,
    )
else:
    options = crop.Options(
        coco_file=Path(boxes),
        images_dir=Path(images_dir),
        output_dir=Path(crops_dir),
        dataset="bench",
    )
    perform.perform("crop", options)
print(time.perf_counter() - start[0], time.process_time() - start[1])
