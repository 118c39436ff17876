"""Fill the store: every image that is new, changed or failed is looked at."""

import os

from animl_pipeline.classifier.preprocessing import make_transform
from animl_pipeline.crops import cutting
from animl_pipeline.prediction import looking
from animl_pipeline.prediction.answering import Answerer, keep_answers
from animl_pipeline.prediction.plan import PredictionPlan, make_detection_rules
from animl_pipeline.prediction.store import Store
from animl_pipeline.running.progress import progress


def fill_store(store: Store, plan: PredictionPlan) -> int:
    """Answer every image that the store does not know as it is now; return how many these were.

    An image that could not be read is tried again each time: somebody may have mended it.
    """
    images = plan.listing.images
    store.keep(images)
    known = {name for name, state in store.list_known() if images.get(name) == state}
    todo = [name for name in images if name not in known]
    if not todo:
        return 0
    options = plan.options
    answerer = Answerer(plan.engine, options.batch_size or plan.engine.batch_size)
    threads = options.workers or os.cpu_count() or 1
    with (
        cutting.sharing_memory() as memory,
        progress(len(images), title="predict", unit="image", done=len(known)) as bar,
    ):
        eye = looking.Eye(options.images_dir, plan.rule, make_transform(plan.card), memory)
        if plan.detector:
            rules = make_detection_rules(options)
            seen = looking.look_with_detector(eye, todo, plan.detector, rules, threads=threads)
        else:
            finder = looking.make_finder(plan.results, options.threshold)
            seen = looking.look_at_boxes(eye, todo, finder, threads=threads)
        for count in keep_answers(answerer.answer(seen), store):
            bar.update(count)
    return len(todo)
