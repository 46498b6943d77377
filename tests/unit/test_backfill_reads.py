"""Backfills: how the table is read, and how a load is ended at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc.loads.jobs import Jobs
from cdc.records.change import StreamView
from tests.loading import LoadedTable
from tests.unit.test_backfill import jobs, load_of, loaded, world

__all__ = ["jobs", "world"]


TRIES = 3
ROOT = Path(__file__).parents[2]


class Asked:
    """Notes how pages are asked for."""

    def __init__(self, pages: Any) -> None:
        self._pages = pages
        self.consistent: list[bool] = []

    def describe(self, table: str) -> Any:
        return self._pages.describe(table)

    def page(self, *asked: Any, **options: Any) -> Any:
        self.consistent.append(options.get("consistent", False))
        return self._pages.page(*asked, **options)


@pytest.mark.parametrize("kinesis", [False, True])
def test_a_table_that_is_read_through_kinesis_is_read_consistently(kinesis: bool, jobs: Jobs) -> None:
    """Its pages rank by the moment of their requests: they must show all that was written before."""
    table = LoadedTable(kinesis=kinesis)
    for number in range(9):
        table.table.put((f"k{number}", "x"), {"n": number})
    table.clock.sleep(3600)  # a table whose stream is young is read consistently too
    asked = Asked(table.deployment.pages)
    deployment = replace(table.deployment, pages=asked)
    arn = table.stream.arn if kinesis else None
    load = load_of(deployment, jobs, kinesis_stream_arn=arn)
    plan, units = load.planner.of_table("shop")
    load.begin(plan, units)
    load.run("shop", plan.job, verify=False)
    assert set(asked.consistent[: len(units)]) == {kinesis}
    size = table.deployment.pages.describe("shop").size_bytes
    assert plan.read_units == size / 4096 / (1 if kinesis else 2)


def test_views_without_images_are_loaded_too(jobs: Jobs) -> None:
    table = LoadedTable(view=StreamView.KEYS_ONLY)
    table.table.put(("a", "x"), {"n": 1})
    table.clock.sleep(2)
    names: Sequence[str] = loaded(load_of(table.deployment, jobs)).plan.indices
    assert names == ("orders",)
    assert table.documents() == table.wanted()


# --- signals


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_second_signal_ends_a_load_at_once_whatever_its_threads_wait_for(name: str, code: int) -> None:
    program = f"""
import os, signal, threading
from concurrent.futures import ThreadPoolExecutor
from consumers.cli.backfill import stopped_in_order

with stopped_in_order(lambda: None), ThreadPoolExecutor(1) as threads:
    held = threads.submit(threading.Event().wait)
    os.kill(os.getpid(), signal.{name})
    print("stopping", flush=True)
    os.kill(os.getpid(), signal.{name})
    try:
        held.result()
    except KeyboardInterrupt:
        pass
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (code, "stopping\n")
    assert "stopping behind the pages" in done.stderr
