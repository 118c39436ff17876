"""One run of MegaDetector's own trainer, timed: started by train.py, in the peers' environment.

    python train_peer.py OPTIONS.json

The options are those of its `main`, with two of our own: `side`, the size in pixels of its pictures
(it has no option for it), and `evaluates`. All its epochs are run: of itself it stops 8 after the
best. Prints, as one line of JSON, the images per second of each of its epochs of training and of
validation.
"""

import inspect
import json
import sys
import time
from pathlib import Path

from megadetector.classification import train_classifier as peer

STOP = "best_epoch_metrics['epoch'] + 8"  # in its code; it has no option for that either


def main() -> None:
    """Run it."""
    options = json.loads(Path(sys.argv[1]).read_text())
    side, evaluates = options.pop("side"), options.pop("evaluates")
    source = inspect.getsource(peer.main)
    if STOP not in source:
        sys.exit(f"{STOP!r} is not in the peer any more.")
    exec(source.replace(STOP, STOP + " + epochs"), vars(peer))  # noqa: S102  its own code
    epoch, speeds = peer.run_epoch, {"train": [], "val": []}

    def timed(*args, **named):
        start = time.monotonic()
        found = epoch(*args, **named)
        kind = "train" if named.get("optimizer") is not None else "val"
        speeds[kind].append(len(named["loader"].dataset) / (time.monotonic() - start))
        return found

    peer.run_epoch = timed
    if side:
        peer.efficientnet.EfficientNet.get_image_size = staticmethod(lambda _: side)
    if not evaluates:
        peer.evaluate_model.main = lambda *_, **__: None
    peer.main(**options)
    print(json.dumps(speeds))


if __name__ == "__main__":
    main()
