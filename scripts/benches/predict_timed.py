"""Classify boxes that are given, with our stage or a peer; print what it took as JSON.

    python predict_timed.py HOW OPTIONS.json

HOW is `ours`, `alone` (our engine, pictures in memory), `megadetector` or `animl`. What is imported
and what a peer loads is not counted; our stage loads its network within the time.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace


def ours(given: SimpleNamespace):
    """Return what runs `pipeline predict`."""
    import onnxruntime  # noqa: F401 - what the stage loads later
    import torchvision  # noqa: F401

    from animl_pipeline.prediction import filling, plan  # noqa: F401
    from animl_pipeline.running import perform
    from animl_pipeline.stages import predict

    options = predict.Options(
        images_dir=Path(given.images_dir),
        run_dir=Path(given.run_dir),
        output_dir=Path(given.output_dir),
        detections=Path(given.detections),
        engine=given.engine,
        device="cpu",
        tolerate=1.0,
    )
    return lambda: perform.perform("predict", options)


def alone(given: SimpleNamespace):
    """Return what runs our engine on pictures that are in memory as the network takes them."""
    import numpy as np

    from animl_pipeline.classifier import engines

    pictures = np.load(given.pictures)
    engine = engines.open_engine(Path(given.run_dir), wanted=given.engine, device="cpu")
    size = given.batch_size or engine.batch_size
    engine.run(pictures[:size])

    def run() -> None:
        for first in range(0, len(pictures), size):
            engine.run(pictures[first : first + size])

    return run


def megadetector(given: SimpleNamespace):
    """Return what runs MegaDetector's cropper and its classifier."""
    from megadetector.classification import crop_detections, run_classifier

    crops_dir = Path(given.output_dir, "crops")

    def run() -> float:
        crop_detections.main(
            detections_json_path=given.detections,
            cropped_images_dir=str(crops_dir),
            images_dir=given.images_dir,
            container_url=None,
            detector_version=None,
            save_full_images=False,
            square_crops=True,
            check_crops_valid=False,
            confidence_threshold=0.0,
            threads=50,  # as its documentation has it
            logdir=given.output_dir,
        )
        cropped = time.perf_counter()
        run_classifier.main(
            model_path=given.traced,
            cropped_images_dir=str(crops_dir),
            output_csv_path=str(Path(given.output_dir, "out.csv")),
            detections_json_path=None,
            classifier_categories_json_path=None,
            img_size=given.side,
            batch_size=given.batch_size,
            num_workers=os.cpu_count(),
        )
        return cropped

    return run


def animl(given: SimpleNamespace):
    """Return what runs animl's classifier, which cuts the boxes on the way."""
    import pandas as pd
    import torch
    from animl import classification

    network = torch.jit.load(given.traced)
    network.framework = "pytorch"
    rows = [
        (str(Path(given.images_dir, image["file"])), *box["bbox"])
        for image in json.loads(Path(given.detections).read_text())["images"]
        for box in image["detections"]
    ]
    table = pd.DataFrame(rows, columns=["filepath", "bbox_x", "bbox_y", "bbox_w", "bbox_h"])
    return lambda: classification.classify(
        network, table, given.side, given.side, "filepath",
        batch_size=given.batch_size, device="cpu", out_file=str(Path(given.output_dir, "out.csv")),
    )  # fmt: skip


def processor_seconds() -> float:
    """Return what this process and its children, as far as they have ended, took."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Run it."""
    how, options = sys.argv[1:]
    given = SimpleNamespace(**json.loads(Path(options).read_text()))
    run = globals()[how](given)
    start = time.perf_counter(), processor_seconds()
    between = run()
    end = time.perf_counter()
    took = {"clock": end - start[0], "processor": processor_seconds() - start[1]}
    took["classifying"] = end - between if isinstance(between, float) else took["clock"]
    took["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(took))


if __name__ == "__main__":
    main()
