"""`make demo` does what the README says, and Ctrl-C at any moment leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.integration.test_whole_way import await_equal

ROOT = Path(__file__).parents[2]


@contextmanager
def demo(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The demo as a foreground job: a process group of its own."""
    with log.open("wb") as out:
        command = [sys.executable, "-m", "local.demo", *arguments]
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("consumer", ["kcl", "lambda"])
def test_the_demo_ends_with_a_good_verdict(tmp_path: Path, consumer: str) -> None:
    log = tmp_path / "demo.log"
    with demo(log, "--seconds", "4", "--consumer", consumer) as process:
        assert process.wait(200) == 0, log.read_text()
    text = log.read_text()
    assert " items equal, 0 missing, 0 stale, 0 extra; " in text
    assert " changes archived, each once; 0 dead letters" in text


@pytest.mark.parametrize(
    ("moment", "signal_number"),
    [("starting …", signal.SIGINT), ("is written for", signal.SIGINT), ("is written for", signal.SIGKILL)],
    ids=["Ctrl-C at start", "Ctrl-C while writing", "killed while writing"],
)
def test_an_interrupted_demo_leaves_no_process_behind(
    tmp_path: Path, moment: str, signal_number: signal.Signals
) -> None:
    log = tmp_path / "demo.log"
    with demo(log) as process:
        await_equal(lambda: moment in log.read_text())
        itself = psutil.Process(process.pid)
        await_equal(lambda: len(itself.children(recursive=True)) >= 2)
        family = itself.children(recursive=True)
        os.killpg(process.pid, signal_number)
        await_equal(lambda: not any(member.is_running() for member in family))
        assert process.wait(30) != 0
        assert not any(member.is_running() for member in family)
