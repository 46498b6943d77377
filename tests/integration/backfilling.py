"""Backfills of a full table on real servers, for the tests of `cdc backfill`."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cdc.loads.backfill import Backfill, LoadOptions
from cdc.loads.plan import Cursor
from cdc.loads.unit import LoadStopped, PageDone
from cdc.verification.verify import verify
from consumers.cli.main import main
from consumers.loading import deployment_of, jobs_of
from consumers.runtime import open_runtime
from consumers.settings import load_settings
from tests.integration.test_verify import Shop

__all__ = [
    "EQUAL",
    "ITEMS",
    "ROOT",
    "Done",
    "at_once",
    "begun",
    "cdc",
    "cursors",
    "documents",
    "full",
    "item",
    "objects",
    "set_stream",
]

ROOT = Path(__file__).parents[2]
ITEMS = 40
EQUAL = f"{ITEMS} items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters"


@dataclass(frozen=True)
class Done:
    """The end of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error and its remedy, which are all that is said."""
        assert self.code == 2, (self.code, self.out, self.err)
        lines = self.err[self.err.index("error: ") :].splitlines()
        assert len(lines) == 2, self.err
        assert "Traceback" not in self.err
        return " ".join(line.strip() for line in lines)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output, each line JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def cdc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Done]]:
    """Runs `cdc …` in this process, by the environment as it is."""
    handlers, thresholds = logging.getLogger().handlers[:], gc.get_threshold()

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["cdc", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    yield run
    logging.getLogger().handlers[:] = handlers
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No consumer lags here: a verification takes its second look at once."""
    monkeypatch.setitem(verify.__kwdefaults__ or {}, "settle_seconds", 0.2)


@pytest.fixture
def full(shop: Shop) -> Shop:
    """A table that was full before anybody followed it."""
    for start in range(0, ITEMS, 20):
        puts = [{"PutRequest": {"Item": item(number)}} for number in range(start, start + 20)]
        shop.aws("dynamodb").batch_write_item(RequestItems={shop.table: puts})
    return shop


def item(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"item {number}"}, "sk": {"S": "a|b%"}, "total": {"N": str(number)}}


def documents(shop: Shop) -> set[str]:
    """The ids of the documents; none where there is no index."""
    if not shop.opensearch.indices.exists(index=shop.index):
        return set()
    shop.opensearch.indices.refresh(index=shop.index)
    hits = shop.opensearch.search(index=shop.index, params={"size": 1000})["hits"]["hits"]
    return {hit["_id"] for hit in hits}


def objects(shop: Shop, prefix: str) -> list[str]:
    found = shop.aws("s3").list_objects_v2(Bucket=shop.environment["CDC_ARCHIVE_BUCKET"], Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", ())]


def begun(shop: Shop, pages: int = 2) -> str:
    """A load that was stopped behind so many pages; its name."""
    stop, left = Event(), pages

    def observe(fact: object) -> None:
        nonlocal left
        left -= isinstance(fact, PageDone)
        if left <= 0:
            stop.set()

    runtime = open_runtime(load_settings(os.environ))
    load = Backfill(deployment_of(runtime), jobs_of(runtime), LoadOptions(workers=1), stop, observe)
    plan, units = load.planner.of_table(shop.table)
    load.begin(plan, units)
    with pytest.raises(LoadStopped):
        load.run(shop.table, plan.job)
    runtime.close()
    return plan.job


# --- what is refused


def set_stream(shop: Shop, *, on: bool) -> None:
    about = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"} if on else {"StreamEnabled": False}
    shop.aws("dynamodb").update_table(TableName=shop.table, StreamSpecification=about)


def cursors(shop: Shop) -> dict[str, Cursor]:
    """How far the only load is."""
    runtime = open_runtime(load_settings(os.environ))
    jobs = jobs_of(runtime)
    (job,) = jobs.of_table(shop.table)
    found = jobs.cursors(shop.table, job)
    runtime.close()
    return found
