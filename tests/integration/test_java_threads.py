"""Calls from Java's threads into Python leave nothing behind, however many they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys

CODE = """
import gc, json
from consumers.kcl.java.jvm import called, end_process, start_jvm

jpype = start_jvm([], "64m")
string = jpype.JClass("java.lang.String")("x")

def left_behind(overrides):
    @jpype.JImplements("java.lang.Runnable")
    class Called:
        @overrides
        def run(self):
            string.length()

    pool = jpype.JClass("java.util.concurrent.Executors").newFixedThreadPool(2)
    before = len([one for one in gc.get_objects() if isinstance(one, type)])
    for _ in range(300):
        pool.submit(Called()).get()
    gc.collect()
    return len([one for one in gc.get_objects() if isinstance(one, type)]) - before

print(json.dumps({"passing by": left_behind(jpype.JOverride), "attached": left_behind(called)}))
end_process(0)
"""


def test_a_thread_that_stays_attached_leaves_one_type_behind_and_not_one_a_call() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=120, env={**os.environ}
    )
    left = json.loads(done.stdout.splitlines()[-1])
    assert left["attached"] < 10, left
    assert left["passing by"] >= 300, "JPype has mended it: `called` can go"
