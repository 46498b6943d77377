"""Types that threads read for the first time at once: msgspec has looked at them when their module was imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

READS = """
import sys, threading
sys.setswitchinterval(1e-6)
from {module} import {name} as kind
import msgspec
barrier = threading.Barrier(16)
def read():
    barrier.wait()
    try:
        msgspec.convert({{}}, kind)
    except msgspec.ValidationError:
        pass
threads = [threading.Thread(target=read) for _ in range(16)]
[one.start() for one in threads]
[one.join() for one in threads]
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("cdc.sinks.opensearch.memory", "RememberedDocuments"),
        ("cdc.dead_letters.letter", "DeadLetter"),
        ("cdc.loads.plan", "Cursor"),
    ],
)
def test_many_threads_may_be_the_first_to_read_it(module: str, name: str) -> None:
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", READS.format(module=module, name=name)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
