"""COCO Camera Traps: what Animl has written in every generation, and LILA's sets.

Nothing is dropped here: a row that cannot be used carries the reason, and what is not even a row
is a problem with its place in the file. What becomes a crop is decided elsewhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from animl_pipeline.artifacts.names import DOWNLOAD_FILES
from animl_pipeline.catalogue import animl, sequences
from animl_pipeline.catalogue.reasons import Reason, explain_clash
from animl_pipeline.catalogue.records import Annotation, Catalogue, Image, Refused, Size
from animl_pipeline.errors import InputInvalid
from animl_pipeline.files.names import Names, explain_unsafe
from animl_pipeline.formats import coco_box, json_file

IMAGE_FIELDS = (
    *("id", "file_name", "original_relative_path", "serving_bucket_key", "location"),
    *("datetime", "date_captured", "seq_id", "width", "height", "corrupt"),
)
ANNOTATION_FIELDS = (
    *("id", "image_id", "category_id", "bbox", "bbox_relative"),
    *("validated", "confidence", "sequence_level_annotation"),
)
KEY_FIELDS = ("serving_bucket_key", "original_relative_path", "file_name")  # newest first


def is_written_in(head: bytes) -> bool:
    """Return whether a file that begins so may be a COCO file: it is an object."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read(
    path: Path,
    *,
    key_field: str | None = None,
    read_size: Callable[[str], Size | None] | None = None,
) -> Catalogue:
    """Return the catalogue of a COCO file, every record of it accounted for.

    `key_field` names the field that holds the key in the bucket; None finds it.
    `read_size(file_name)` gives the size of an image whose record has none (None where it cannot),
    so that boxes in pixels still have a meaning.

    Raises:
        InputMissing, InputInvalid: with what is wrong and what to do about it.
    """
    fields = (*IMAGE_FIELDS, key_field or "id")
    content = _read_content(path, {"images": fields, "annotations": ANNOTATION_FIELDS})
    images, refused_images, field = _read_images(content, key_field, path)
    sizes = _find_sizes(images, content["annotations"], read_size)
    categories = _read_categories(content["categories"], path)
    annotations, refused = _read_annotations(content["annotations"], categories, images, sizes)
    sequence_of = sequences.find_sequences(images.values())
    return Catalogue(
        images=[image._replace(sequence=sequence_of[image.image_id]) for image in images.values()],
        annotations=annotations,
        refused_images=refused_images,
        refused_annotations=refused,
        dataset=_name_dataset(content, images, path),
        key_field=field,
    )


def read_images(
    path: Path, *, key_field: str | None = None
) -> tuple[list[Image], list[Refused], str]:
    """Return images, what is none, and the field of the keys: half the memory of `read`.

    Raises:
        InputMissing, InputInvalid: as for `read`, but for what only annotations can have.
    """
    content = _read_content(path, {"images": (*IMAGE_FIELDS, key_field or "id"), "annotations": ()})
    images, refused, field = _read_images(content, key_field, path)
    return list(images.values()), refused, field


def _read_content(path: Path, fields: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return the file, of each record only the fields that are read here."""

    def keep(key: str, record: Any) -> Any:
        if key not in fields or not isinstance(record, dict):
            return record
        return {name: record[name] for name in fields[key] if name in record}

    what, lists = "a COCO Camera Traps file", ("images", "annotations", "categories")
    content = json_file.read_object(path, what=what, lists=lists, keep=keep)
    if not content["images"]:
        raise InputInvalid(f"{path} holds no images: widen the filters it was made with.")
    return content


def _read_images(
    content: dict[str, Any], key_field: str | None, path: Path
) -> tuple[dict[str, Image], list[Refused], str]:
    """Return the images by id, the refused, and the field the keys are in."""
    generation = _find_key_field(content["images"])
    # Of the generation of 2023 `file_name` is the camera's own and not unique: IMG_0001.JPG.
    of_2023 = generation == "original_relative_path"
    name_field, field = generation if of_2023 else "file_name", key_field or generation
    return (*_read_image_records(content["images"], name_field, field, path), field)


def _find_key_field(records: list[Any]) -> str:
    """Return the newest generation's field that any record has."""
    usable = [record for record in records if isinstance(record, dict)]
    for field in KEY_FIELDS:
        if any(isinstance(record.get(field), str) for record in usable):
            return field
    return "file_name"


def _read_image_records(
    records: list[Any], name_field: str, key_field: str, path: Path
) -> tuple[dict[str, Image], list[Refused]]:
    """Return the images by id, and a reason for each row that is not one."""
    images: dict[str, Image] = {}
    refused = []
    names = Names(DOWNLOAD_FILES)
    for row, record in enumerate(records):
        where = f"images[{row}]"
        if not isinstance(record, dict):
            refused.append(Refused("", "", _explain_row(where, "is not a record")))
            continue
        image_id, name = json_file.as_text(record.get("id")), record.get(name_field)
        label = json_file.as_text(name) or image_id or where
        if not image_id:
            refused.append(Refused(label, "", _explain_row(where, "has no id")))
        elif image_id in images:
            sentence = f"{where}: image id {image_id} is there twice"
            reason = Reason("image id is there twice", sentence)
            refused.append(Refused(label, "", reason))
        elif not isinstance(name, str):
            refused.append(Refused(label, "", _explain_row(where, f"has no {name_field}")))
        else:
            unsafe = explain_unsafe(name) or explain_clash(names, name, image_id)
            images[image_id] = _make_image(
                record, image_id, json_file.as_text(name), key_field, unsafe
            )
    if not images:
        raise InputInvalid(
            f"{path}: none of {len(records)} images can be used: {refused[0].reason}."
        )
    return images, refused


def _explain_row(where: str, what: str) -> Reason:
    """Return what is wrong with a row that is not even one."""
    return Reason(f"a row of {where.partition('[')[0]} {what}", f"{where} {what}")


def _make_image(
    record: dict[str, Any], image_id: str, name: str, key_field: str, unsafe: str
) -> Image:
    width, height = (json_file.as_side_px(record.get(name)) for name in ("width", "height"))
    return Image(
        image_id=image_id,
        file_name=name,
        key=json_file.as_text(record.get(key_field)),
        location=json_file.as_text(record.get("location")),
        datetime=json_file.as_text(record.get("datetime") or record.get("date_captured")),
        sequence=json_file.as_text(record.get("seq_id")),
        width_px=width if height else 0,
        height_px=height if width else 0,
        unsafe=unsafe,
        corrupt=record.get("corrupt") is True,
    )


def _find_sizes(
    images: dict[str, Image],
    annotations: list[Any],
    read_size: Callable[[str], Size | None] | None,
) -> dict[str, Size | None]:
    """Return the size of every image, asking the image only where a box in pixels needs it."""
    sizes = {
        image_id: (image.width_px, image.height_px) if image.width_px else None
        for image_id, image in images.items()
    }
    if read_size is None:
        return sizes
    unknown = {image_id for image_id, size in sizes.items() if size is None}
    for record in annotations if unknown else ():
        image_id = json_file.as_text(record.get("image_id")) if isinstance(record, dict) else ""
        if image_id in unknown and coco_box.parse_box(record.get("bbox")):
            unknown.discard(image_id)
            image = images[image_id]
            sizes[image_id] = None if image.unsafe else read_size(image.file_name)
    return sizes


def _read_categories(records: list[Any], path: Path) -> dict[int | str, str]:
    """Return category id -> name; two ids may share a name, as two spellings may not."""
    categories: dict[int | str, str] = {}
    for row, record in enumerate(records):
        name = json_file.as_text(record.get("name")) if isinstance(record, dict) else ""
        if not name.strip() or not isinstance(record.get("id"), int | str):
            raise InputInvalid(f"{path}: categories[{row}] has no id and name: {record!r}.")
        if categories.setdefault(record["id"], name) != name:
            raise InputInvalid(
                f"{path}: category id {record['id']!r} is both {categories[record['id']]!r} and "
                f"{name!r}, so its annotations have no meaning. Make the file again."
            )
    return categories


def _read_annotations(
    records: list[Any],
    categories: dict[int | str, str],
    images: dict[str, Image],
    sizes: dict[str, Size | None],
) -> tuple[list[Annotation], list[Refused]]:
    rows = []
    refused = []
    seen = set()
    for row, record in enumerate(records):
        where = f"annotations[{row}]"
        if not isinstance(record, dict):
            refused.append(Refused("", "", _explain_row(where, "is not a record")))
            continue
        annotation_id, image_id = (
            json_file.as_text(record.get("id")),
            json_file.as_text(record.get("image_id")),
        )
        if image_id not in images:
            sentence = f"{where}: image {image_id or '(no id)'} is not in the COCO file"
            reason = Reason("image is not in the COCO file", sentence)
            refused.append(Refused("", annotation_id, reason))
        elif annotation_id and annotation_id in seen:
            sentence = f"{where}: annotation id {annotation_id} is there twice"
            reason = Reason("annotation id is there twice", sentence)
            refused.append(Refused(images[image_id].file_name, annotation_id, reason))
        else:
            seen.add(annotation_id)
            rows.append(
                _make_annotation(record, annotation_id, image_id, categories, sizes[image_id])
            )
    return rows, refused


def _make_annotation(
    record: dict[str, Any],
    annotation_id: str,
    image_id: str,
    categories: dict[int | str, str],
    size: Size | None,
) -> Annotation:
    category_id = record.get("category_id")
    category = categories.get(category_id, "") if isinstance(category_id, int | str) else ""
    box, reason, warning = coco_box.read(record, size)
    if not category:
        sentence = f"category id {category_id!r} is not in the COCO file's categories"
        reason = Reason("category id is not in the COCO file's categories", sentence)
    return Annotation(
        annotation_id=annotation_id,
        image_id=image_id,
        category=category,
        validated=record.get("validated", True) is not False,
        sequence_level=record.get("sequence_level_annotation") is True,
        confidence=coco_box.parse_confidence(record.get("confidence")),
        box=box,
        reason=reason,
        warning=warning,
    )


def _name_dataset(content: dict[str, Any], images: dict[str, Image], path: Path) -> str:
    """Return the Animl project of a COCO file, else the name of the file."""
    info = content.get("info")
    description = json_file.as_text(info.get("description")) if isinstance(info, dict) else ""
    name = animl.find_project(description, next(iter(images))) or path.stem
    return name if not explain_unsafe(name) and "/" not in name else path.stem
