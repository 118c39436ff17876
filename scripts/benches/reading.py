"""Our reading of a large COCO file beside ijson's and Python's own: seconds and peak memory."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

READERS = {
    "ours": """
from animl_pipeline.formats import json_file
content = json_file.read_object(path, what="a COCO file", lists=LISTS, keep=keep)""",
    "ijson": """
import ijson.backends.yajl2_c as ijson
content = {}
for name in LISTS:
    with path.open("rb") as file:
        items = ijson.items(file, f"{name}.item", use_float=True)
        content[name] = [keep(name, item) for item in items]""",
    "json.loads": """
import json
content = json.loads(path.read_text())""",
}
AROUND = """
import re, sys, time
from pathlib import Path
sys.path += PEERS
path, LISTS = Path("FILE"), ("images", "annotations", "categories")
keep = lambda _, item: {name: item[name] for name in list(item)[:4]}
began = time.process_time()
READER
seconds = time.process_time() - began
peak_kb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(f"{len(content['images']):,} images: {seconds:.1f} s of a processor, {peak_kb >> 10} MB")
"""


def make_record(number: int, **more: object) -> dict[str, object]:
    """Return a record of the size that Animl's have."""
    return {"id": f"bench:{number:032x}", "location": f"camera {number % 90}", **more}


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--peers", type=Path, required=True)
parser.add_argument("--images", type=int, default=210_000)
given = parser.parse_args()
images = [make_record(n, file_name=f"bench/{n:032x}.jpg", width=2048) for n in range(given.images)]
rows = [
    make_record(n, image_id=f"bench:{n:032x}", bbox=[n / 7, 2, 3, 4]) for n in range(len(images))
]
with TemporaryDirectory() as folder:
    file = Path(folder) / "cct.json"
    file.write_text(json.dumps({"images": images, "annotations": rows, "categories": []}, indent=1))
    print(f"{file.stat().st_size / 1e6:.0f} MB")
    sites = [str(site) for site in (given.peers / "lib").glob("python*/site-packages")]
    for name, reader in READERS.items():
        code = AROUND.replace("READER", reader).replace("FILE", str(file))
        code = code.replace("PEERS", repr(sites))
        print(f"{name:>11}", end=" ", flush=True)
        subprocess.run([sys.executable, "-c", code], check=True)
