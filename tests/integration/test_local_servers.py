"""The local servers: real answers, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from local.process import ServerFailed, start
from tests.integration.test_whole_way import await_equal, in_stream, write


def test_a_stream_has_every_change_in_order(aws: Any, table: tuple[str, str]) -> None:
    write(aws("dynamodb"), table[0], range(30))
    numbers = [record["dynamodb"]["SequenceNumber"] for record in in_stream(aws("dynamodbstreams"), table[1])]
    assert len(numbers) == 30
    assert numbers == sorted(numbers, key=int)


def test_a_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no port is free'); raise SystemExit(3)"]
    process = start("a server", command, {}, tmp_path, tmp_path / "server.log")
    with pytest.raises(ServerFailed, match="ended with 3:\nno port is free"):
        process.wait_until(lambda: False, 30)


def test_a_killed_parent_leaves_no_server_behind(tmp_path: Path) -> None:
    parent_code = (
        "import sys, time; from pathlib import Path; from local.process import start\n"
        f"folder = Path({str(tmp_path)!r})\n"
        'child = \'import subprocess, sys; subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"])\'\n'
        "server = start('a server', [sys.executable, '-c', child], {}, folder, folder / 'log')\n"
        "print(server.supervisor.pid, flush=True); time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    supervisor = psutil.Process(int(parent.stdout.readline()))
    await_equal(lambda: len(supervisor.children(recursive=True)) == 2, 30)
    family = [supervisor, *supervisor.children(recursive=True)]
    parent.kill()
    parent.wait()
    await_equal(lambda: not any(member.is_running() for member in family), 30)
    assert not any(member.is_running() for member in family)
