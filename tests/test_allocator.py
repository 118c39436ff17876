"""Memory that was freed is used again, where the C library can be told so."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from animl_pipeline.running import allocator
if sys.argv[1] == "keep":
    allocator.keep_freed_memory()
def step():
    layers = [torch.ones(2**20 * size) for size in (8, 4, 2, 1)]
    return sum(float(layer[0]) for layer in layers)
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another")
def test_freed_memory_is_not_asked_for_again_page_by_page() -> None:
    found = {}
    for how in ("keep", "plain"):
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[how] = int(done.stdout)
    assert found["keep"] < found["plain"] / 10
