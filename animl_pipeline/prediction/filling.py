"""Fill the store: every image that is new, changed or failed is looked at."""

import os
from collections.abc import Iterator

from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.crops import cutting
from animl_pipeline.prediction import looking
from animl_pipeline.prediction.answering import Network, answer_chunks
from animl_pipeline.prediction.looking import Asked, SeenImage
from animl_pipeline.prediction.plan import PredictionPlan, make_detection_rules
from animl_pipeline.prediction.store import Store
from animl_pipeline.running.budget import PixelBudget
from animl_pipeline.running.progress import progress

# Images of a chunk for each crop of a batch: in larger ones batches are fuller, and an
# interruption costs more. A detector takes so long that there batches matter little.
IMAGES_PER_CROP, IMAGES_PER_CROP_DETECTED = 4, 1


def fill_store(store: Store, plan: PredictionPlan) -> int:
    """Answer every image that the store does not know as it is now; return how many these were.

    An image that could not be read is tried again each time: somebody may have mended it.
    """
    images = plan.listing.images
    store.keep(images)
    known = {name for name, state in store.list_known() if images.get(name) == state}
    batch_size = plan.options.batch_size or plan.engine.batch_size
    size = batch_size * (IMAGES_PER_CROP_DETECTED if plan.detector else IMAGES_PER_CROP)
    chunks = list(_divide(list(images), known, size))
    network = Network(plan.engine, plan.reference, batch_size)
    with (
        cutting.sharing_memory() as memory,
        progress(len(images), title="predict", unit="image", done=len(known)) as bar,
    ):
        seen = _look(plan, chunks, memory)
        for answers in answer_chunks(seen, [len(chunk) for chunk in chunks], network):
            store.add(answers)
            bar.update(len(answers))
    return sum(map(len, chunks))


def _divide(names: list[str], known: set[str], size: int) -> Iterator[list[str]]:
    """Yield what is not known of each chunk of so many images."""
    for at in range(0, len(names), size):
        chunk = [name for name in names[at : at + size] if name not in known]
        if chunk:
            yield chunk


def _look(
    plan: PredictionPlan, chunks: list[list[str]], memory: PixelBudget
) -> Iterator[SeenImage]:
    options = plan.options
    asked = [Asked(number, name) for number, chunk in enumerate(chunks) for name in chunk]
    eye = looking.Eye(options.images_dir, plan.rule, make_transform(plan.card), memory)
    threads = options.workers or os.cpu_count() or 1
    if plan.detector:
        rules = make_detection_rules(options)
        return looking.look_with_detector(eye, asked, plan.detector, rules, threads=threads)
    finder = looking.make_finder(plan.results, options.threshold)
    return looking.look_at_boxes(eye, asked, finder, threads=threads)
