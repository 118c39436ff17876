"""Exports of a few images with files of a few bytes, for tests of single rows."""

import hashlib
import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

PROJECT = "island"


def image(number: int, **changes: Any) -> tuple[dict[str, Any], bytes]:
    """Returns an image record and the bytes its object is to have."""
    data = f"picture {number} ".encode() * 300
    image_id = f"{PROJECT}:{hashlib.md5(data).hexdigest()}"
    record = {
        "id": image_id,
        "file_name": f"{PROJECT}/cam/pier/{number}.jpg",
        "serving_bucket_key": f"original/{number}.jpg",
        "datetime": f"2023-03-02T06:{number:02d}:00.000-08:00",
        "location": "pier",
        "width": 64,
        "height": 48,
    }
    return record | changes, data


def write_export(
    path: Path,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]] | None = None,
    categories: tuple[str, ...] = ("empty", "fox", "bird", "person"),
) -> Path:
    """Writes an Animl export of these records."""
    content = {
        "images": images,
        "annotations": annotations or [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
        "info": {"version": "1.0", "description": f"Image data exported from Animl project "
                 f"'{PROJECT}'. Export ID: 1"},
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")
    return path


def put(endpoint_url: str, bucket: str, objects: dict[str, bytes]) -> None:
    """Puts objects into a bucket, which is made if it is not there."""
    request(endpoint_url, "PUT", f"/{bucket}")
    for key, data in objects.items():
        request(endpoint_url, "PUT", f"/{bucket}/{quote(key)}", data)


def put_in_parts(endpoint_url: str, bucket: str, key: str, data: bytes) -> None:
    """Puts an object as a multipart upload, whose ETag is no md5."""
    where = f"/{bucket}/{quote(key)}"
    started = request(endpoint_url, "POST", f"{where}?uploads")
    upload = re.search(rb"<UploadId>(.+)</UploadId>", started)
    assert upload, started
    number = f"{where}?partNumber=1&uploadId={upload[1].decode()}"
    request(endpoint_url, "PUT", number, data)
    part = f"<Part><PartNumber>1</PartNumber><ETag>{hashlib.md5(data).hexdigest()}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    request(endpoint_url, "POST", f"{where}?uploadId={upload[1].decode()}", body)


def request(
    endpoint_url: str,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> bytes:
    """Asks a server that checks no signature, such as moto; a client of boto3 is slow to make."""
    at = urlsplit(endpoint_url)
    server = http.client.HTTPConnection(at.netloc)
    try:
        key = "AWS4-HMAC-SHA256 Credential=nobody/20230302/us-east-1/s3/aws4_request"
        server.request(method, path, body, {"Authorization": key, **(headers or {})})
        answer = server.getresponse()
        content = answer.read()
    finally:
        server.close()
    assert answer.status == 200, content
    return content
