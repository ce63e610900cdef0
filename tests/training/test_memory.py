"""Freed memory is used again without asking the system."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from evergreen.training.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
source = bytearray(1 << 26)
bytes(source)
before = faults()
for _ in range(4):
    bytes(source)
print(faults() - before)
"""


def count(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, timeout=100)
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_block_that_was_freed_faults_no_more() -> None:
    assert count("kept") * 4 < count("plain")
