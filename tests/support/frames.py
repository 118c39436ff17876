"""Images with what was decided of them, as `predict` hands them to the files and the page."""

import numpy as np

from animl_pipeline.catalogue.records import Detection, Facts
from animl_pipeline.prediction.answers import BoxAnswer, ImageAnswer
from animl_pipeline.prediction.decisions import NOT_CLASSIFIED, BoxDecision, Frame, decide_image


def make_frame(
    name: str, *boxes: tuple[str, float, str], location: str = "A", hour: int = 6, failure: str = ""
) -> Frame:
    """An image with a box for each label, probability and decision; the unknown score is 1 - p."""
    facts = Facts(location=location, datetime=f"2026-05-02T{hour:02}:00:00" if hour >= 0 else "")
    answers = [
        BoxAnswer(
            Detection("animal", 0.9, (0.1 * place, 0.2, 0.3, 0.3)),
            None,
            1 - probability,
            np.zeros(0, np.float32),
        )
        for place, (_, probability, _) in enumerate(boxes)
    ]
    decided = [
        BoxDecision(label, probability, decision, f"{label} said so", NOT_CLASSIFIED)
        for label, probability, decision in boxes
    ]
    answer = ImageAnswer(name, 0, 0, answers, failure, facts)
    return Frame(answer, decided, decide_image(decided, failure))
