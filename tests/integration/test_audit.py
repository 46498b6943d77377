"""The audit on real servers: what was planted is found and mended, and a running consumer tells its figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.test_consumer import consumer
from tests.integration.test_service import address, metrics, ready
from tests.integration.test_whole_way import await_equal, deployment, in_index, in_table, write

__all__ = ["address", "consumer", "deployment"]


def audit(deployment: dict[str, str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the figure of `cdc audit`."""
    command = [sys.executable, "-m", "consumers.cli.main", "audit", "--json", "--settle", "1s", *arguments]
    done = subprocess.run(command, env={**os.environ, **deployment}, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def plant(opensearch: Any, index: str) -> None:
    """One document removed, one altered, one of no item; each at a version that was there already."""
    version = {hit["_id"]: hit["_version"] for hit in found(opensearch, index)}
    source = {hit["_id"]: hit["_source"] for hit in found(opensearch, index)}
    at = {identifier: {"version": one, "version_type": "external_gte"} for identifier, one in version.items()}
    opensearch.delete(index=index, id="k1|x", params=at["k1|x"])
    opensearch.index(index=index, id="k2|x", body={**source["k2|x"], "n": -1}, params=at["k2|x"])
    opensearch.index(index=index, id="k99|x", body={**source["k3|x"], "pk": "k99"}, params=at["k3|x"])
    opensearch.indices.refresh(index=index)


def found(opensearch: Any, index: str) -> list[dict[str, Any]]:
    return list(opensearch.search(index=index, params={"size": 100, "version": "true"})["hits"]["hits"])


@pytest.mark.turn("long")
def test_what_was_planted_is_found_and_mended_and_a_consumer_tells_its_figure(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    address: str,
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(7))
    first = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    assert "audit" not in ready(address)[1]
    first.terminate()
    assert first.wait(40) == 0
    assert audit(deployment, "--table", table[0])[0] == 0

    plant(opensearch, index)
    code, figure = audit(deployment, "--table", table[0])
    assert (code, figure["counts"]) == (1, {"missing": 1, "stale": 1, "ghost": 1})
    assert figure["drift_upper_ppm"] > figure["drift_ppm"] > 0
    code, figure = audit(deployment, "--table", table[0], "--repair")
    assert (code, figure["left"]) == (0, 0)
    assert in_index(opensearch, index) == in_table(dynamodb, table[0])

    plant(opensearch, index)
    deployment.update(CDC_AUDIT_ITEMS_PER_HOUR="18000", CDC_AUDIT_REPAIR="on")
    second = consumer("--table", table[0])
    await_equal(lambda: ready(address)[1].get("audit", [{}])[0].get("differences", 0) > 0)
    (shown,) = ready(address)[1]["audit"]
    assert shown["table"] == table[0]
    assert shown["drift_upper_ppm"] > shown["drift_ppm"] > 0
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    values = metrics(address)
    assert values[f'cdc_audit_checked_total{{table="{table[0]}"}}'] > 0
    assert values[f'cdc_audit_differences_total{{class="missing",table="{table[0]}"}}'] >= 1
    assert values[f'cdc_audit_repaired_total{{table="{table[0]}"}}'] >= 3
    assert httpx.get(f"{address}/readyz").status_code == 200
    second.terminate()
    assert second.wait(40) == 0
