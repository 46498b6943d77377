"""A process in which Java has run ends with its own exit code, also if Java's threads go on while Python ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

ENDING = """
import gc, sys, threading
from consumers.kcl.java.jvm import called, start_jvm

jpype = start_jvm([], "64m")
system = jpype.JClass("java.lang.System")

def while_python_ends(ask):
    def collected(phase, _facts):
        if phase == "stop" and sys.is_finalizing():
            ask()
    gc.callbacks.append(collected)
"""

COLLECTION = """
threads = jpype.JClass("java.lang.Thread").getAllStackTraces().keySet()
(queue,) = [one for one in threads if str(one.getName()) == "Python Reference Queue"]

def collect_java():
    system.gc()
    queue.join(5_000)  # it ends, by its stop or by force

while_python_ends(collect_java)
sys.exit(3)
"""

COMMAND = """
from consumers.cli import main

begun, never = threading.Event(), threading.Event()

@jpype.JImplements("java.lang.Runnable")
class Busy:
    @called
    def run(self):
        begun.set()
        while not never.wait(0.001):
            pass

thread = jpype.JClass("java.lang.Thread")(Busy())
thread.start()
begun.wait()
while_python_ends(lambda: thread.join(5_000))

def fails(**_settings):
    print("half a line", end="")
    raise RAISED

main.app = fails
main.main()
"""


def ended(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


def test_a_collection_in_java_while_python_ends_does_not_change_the_exit_code() -> None:
    done = ended(ENDING + COLLECTION)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("SystemExit(0)", 0, ""),
        ("SystemExit(2)", 2, ""),
        ("main.CdcError('no table')", 1, "error: no table"),
        ("RuntimeError('nobody thought of it')", 1, "RuntimeError: nobody thought of it"),
    ],
)
def test_the_command_ends_with_its_code_while_a_thread_of_java_is_in_python(raised: str, code: int, said: str) -> None:
    done = ended(ENDING + COMMAND.replace("RAISED", raised))
    assert (done.returncode, done.stdout) == (code, "half a line"), done.stderr
    assert (done.stderr.splitlines() or [""])[-1].strip() == said
