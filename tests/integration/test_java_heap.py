"""A full heap of the JVM ends the process: a thread that died of it would leave its shard standing still, unseen."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from consumers.kcl.java.jvm import start_jvm

jpype = start_jvm([], "32m")
kept = []
try:
    while True:
        kept.append(jpype.JArray(jpype.JByte)(1 << 20))
except BaseException:
    print("the process lives on")
"""


def test_a_full_heap_ends_the_process_and_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3
    assert "OutOfMemoryError" in done.stdout + done.stderr
    assert "lives on" not in done.stdout
