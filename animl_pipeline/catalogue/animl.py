"""What Animl is known to write: the ids of its images, its buckets, its unnamed locations.

An image's id is its md5, since June 2023 after the name of the project: `<project>:<md5>`.
"""

import re

SERVING_BUCKET = "animl-images-serving-prod"
ARCHIVE_BUCKET = "animl-images-archive-prod"  # has the keys of what was exported before 2023-09
UNNAMED = "default"  # what Animl wrote until May 2024 for every camera's unnamed deployment
MD5 = "[0-9a-f]{32}"
# For columns of a table, as pandas takes them.
ID = rf"(?:.*:)?{MD5}"
MD5_OF_ID = rf"(?:^|:)({MD5})$"
ID_PARTS = re.compile(rf"(.+):({MD5})")
ID_MD5 = re.compile(rf"(.*:)?({MD5})")
DESCRIPTION = re.compile(r"Animl project '([^']+)'")


def find_md5(image_id: str, *, bare: bool) -> str:
    """Return the md5 of the image that an id holds, else "".

    Early ids of Animl are the md5 alone (`bare`); elsewhere such an id may be anything.
    """
    parts = ID_MD5.fullmatch(image_id)
    return parts[2] if parts and (parts[1] or bare) else ""


def find_project(description: str, image_id: str) -> str:
    """Return the project that a COCO file's description, or else an image's id, names, or ""."""
    described, prefixed = DESCRIPTION.search(description), ID_PARTS.fullmatch(image_id)
    return described[1] if described else prefixed[1] if prefixed else ""
