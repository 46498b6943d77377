"""`make demo` does what the README says, and Ctrl-C at any moment leaves no process behind."""

from __future__ import annotations

import json
import os
import re
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


def test_the_demo_of_the_lambda_ends_with_a_good_verdict(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log, "--seconds", "4", "--consumer", "lambda") as process:
        assert process.wait(200) == 0, log.read_text()
    assert_good(log.read_text())


@pytest.mark.turn("demo")
@pytest.mark.parametrize("consumer", ["kcl", "lambda"])
def test_the_second_act_rebuilds_an_index_that_is_searched_all_the_while_and_goes_back(
    tmp_path: Path, consumer: str
) -> None:
    log = tmp_path / "demo.log"
    with demo(log, "--act", "rebuild", "--consumer", consumer) as process:
        assert process.wait(300) == 0, log.read_text()
    text = log.read_text()
    assert "PASSED" in text
    assert re.search(r"total_amount +removed +\d+", text)  # by cdc mappings diff
    assert re.search("before: .* paid orders, each with total_amount", text)
    assert re.search("after it: .* paid orders, each with amount", text)
    assert re.search("rollback: .* paid orders, each with total_amount", text)
    for index in ("orders-v1", "orders-v2"):
        assert re.search(rf"{index}: [1-9]\d* items equal, 0 missing, 0 stale, 0 extra", text)
    assert re.search(r"[\d,]{3,} searches meanwhile, 0 failed, none found fewer than [1-9]", text)


def assert_good(text: str) -> None:
    assert "PASSED" in text
    assert " items equal, 0 missing, 0 stale, 0 extra" in text
    assert " changes archived, each once; 0 dead letters" in text
    assert re.search(r"cdc backfill: [\d,]+ items loaded meanwhile; [\d,]+ items equal, 0 missing, 0", text)
    assert re.search(r"cdc verify: [\d,]+ items equal, 0 missing, 0 ghosts, 0 stale", text)


@pytest.mark.turn("demo")
@pytest.mark.parametrize(
    ("moment", "signal_number"),
    [("is written for", signal.SIGINT), ("is written for", signal.SIGKILL)],
    ids=["Ctrl-C while writing", "killed while writing"],
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


@pytest.mark.turn("demo")
def test_the_commands_that_it_prints_can_be_pasted_and_ctrl_c_ends_it_well(tmp_path: Path) -> None:
    log = tmp_path / "demo.log"
    with demo(log, "--seconds", "4", "--keep") as process:
        await_equal(lambda: "until Ctrl-C." in log.read_text(), seconds=200)
        printed = [text.strip() for text in log.read_text().partition("Try it")[2].splitlines() if text[:2] == "  "]
        exports = [text for text in printed if text.startswith("export ")]
        commands = [text for text in printed if text.startswith(("curl ", "aws ", ".venv/bin/cdc "))]
        assert len(exports) > 5
        assert len(commands) >= 5
        said = {command: pasted([*exports, command]) for command in commands}
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
    for command, text in said.items():
        if command.startswith("curl "):
            assert json.loads(text)["hits"]["total"]["value"] > 0, command
    assert said[".venv/bin/cdc archive count"].strip().isdecimal()
    assert json.loads(said[".venv/bin/cdc archive cat | tail -1"])["Keys"]
    assert said[".venv/bin/cdc dead-letters list"] == "no dead letters\n"
    ends = [line for line in log.read_text().splitlines() if line.strip()][-6:]
    assert "PASSED" in ends[0]
    assert_good(log.read_text())
    assert ends[-1] == "Everything keeps running until Ctrl-C."


def pasted(lines: list[str]) -> str:
    """Run the lines in a shell; return its output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = "\n".join(lines).replace(".venv/bin/", "")  # of this environment, wherever it is
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        check=False,
    )
    assert done.returncode == 0, (lines[-1], done.stderr)
    return done.stdout


def test_ctrl_c_is_no_error_of_make(tmp_path: Path) -> None:
    log = tmp_path / "make.log"
    with log.open("wb") as out:
        process = subprocess.Popen(["make", "demo"], stdout=out, stderr=out, cwd=ROOT, start_new_session=True)
    await_equal(lambda: "starting …" in log.read_text())
    os.killpg(process.pid, signal.SIGINT)
    process.wait(30)
    assert "stopped" in log.read_text()
    assert "***" not in log.read_text()
