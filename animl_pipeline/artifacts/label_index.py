"""label_index.json: the labels, in the order of the classifier's outputs."""

from pathlib import Path

from animl_pipeline.errors import InputInvalid
from animl_pipeline.files import whole as files


def read_labels(path: Path) -> list[str]:
    """Return the labels in the order of label_index.json.

    Raises:
        InputInvalid: it is not {"0": label, "1": label, ...}.
    """
    content = files.read_json(path, written_by="`pipeline split`")
    expected = [str(number) for number in range(len(content) if isinstance(content, dict) else 0)]
    labels = [content.get(number) for number in expected]
    named = all(isinstance(label, str) and label for label in labels)
    if not labels or not named or len(set(labels)) < len(labels):
        raise InputInvalid(
            f'{path} is to be {{"0": label, "1": label, ...}}. Run `pipeline split` again.'
        )
    return labels
