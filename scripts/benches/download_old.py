"""The way of the workflow we replace: boto3's download_file in the cube root of N threads."""

import json
import queue
import sys
import threading
from pathlib import Path

import boto3


def main() -> None:
    """Download the pictures of an export: argv is export, bucket, endpoint, folder."""
    export, bucket, endpoint, folder = sys.argv[1:]
    images = json.loads(Path(export).read_text(encoding="utf-8"))["images"]
    client = boto3.client("s3", endpoint_url=endpoint)
    todo: queue.Queue[dict[str, str]] = queue.Queue()
    for image in images:
        todo.put(image)

    def work() -> None:
        while True:
            try:
                image = todo.get(block=False)
            except queue.Empty:
                return
            target = Path(folder, image["file_name"])
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, image["serving_bucket_key"], str(target))

    threads = [threading.Thread(target=work) for _ in range(min(50, int(len(images) ** (1 / 3))))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
