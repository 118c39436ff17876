"""A real S3 server on this machine alone, filled from a folder, for the demo and the tests."""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


@contextmanager
def serve(bucket_dir: Path, bucket: str) -> Iterator[str]:
    """Yields the endpoint url of a server whose bucket holds every file below the folder."""
    # The server's own log, a line per request, would bury the output of whoever uses it.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint_url = f"http://{host}:{port}"
        put_folder(endpoint_url, bucket_dir, bucket)
        try:
            yield endpoint_url
        finally:
            drop_bucket(endpoint_url, bucket)
    finally:
        server.stop()


def put_folder(endpoint_url: str, folder: Path, bucket: str) -> int:
    """Uploads every file below the folder under its relative path; returns how many."""
    client = make_client(endpoint_url)
    client.create_bucket(Bucket=bucket)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    for file in files:
        key = file.relative_to(folder).as_posix()
        client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    client.close()
    return len(files)


def drop_bucket(endpoint_url: str, bucket: str) -> None:
    """Deletes the bucket, which the next server of this process would otherwise find again."""
    client = make_client(endpoint_url)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        if keys:
            client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    client.delete_bucket(Bucket=bucket)
    client.close()


def make_client(endpoint_url: str) -> Any:
    """Returns a client of this server and no other; no proxy of the machine is asked."""
    session = boto3.Session(
        aws_access_key_id="nobody", aws_secret_access_key="nothing", region_name=REGION
    )
    return session.client("s3", endpoint_url=endpoint_url, config=Config(proxies={}))


def forget_aws() -> None:
    """Takes profiles, keys and endpoints of the real AWS out of this process."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bucket_dir", type=Path)
    parser.add_argument("bucket")
    parser.add_argument("endpoint_file", type=Path, help="gets the url once all objects are up")
    given = parser.parse_args()
    forget_aws()
    given.endpoint_file.unlink(missing_ok=True)  # of an earlier server, gone by now
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with serve(given.bucket_dir, given.bucket) as endpoint_url:
        part = given.endpoint_file.with_name(given.endpoint_file.name + ".part")
        part.write_text(endpoint_url + "\n", encoding="utf-8")
        part.replace(given.endpoint_file)
        stop.wait()
    given.endpoint_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
