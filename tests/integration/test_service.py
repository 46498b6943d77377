"""The consumer's HTTP side on real servers: what Prometheus and probes see while it works, is held, and ends."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_consumer import consumer
from tests.integration.test_whole_way import await_equal, deployment, in_index, in_table, write

__all__ = ["consumer", "deployment"]


@pytest.fixture
def address(deployment: dict[str, str]) -> str:
    """Where the consumer answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    deployment.update(CDC_HTTP_PORT=str(port), CDC_HTTP_HOST="127.0.0.1", CDC_DEGRADED_AFTER_SECONDS="5")
    return f"http://127.0.0.1:{port}"


def ready(address: str) -> tuple[int, dict[str, Any]]:
    try:
        answer = httpx.get(f"{address}/readyz", timeout=30)
    except httpx.TransportError:
        return 0, {"state": "nobody answers"}
    return answer.status_code, answer.json()


def metrics(address: str) -> dict[str, float]:
    """By name and labels, as they are written."""
    lines = httpx.get(f"{address}/metrics", timeout=30).text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def by_shard(values: dict[str, float], name: str) -> list[float]:
    return [value for key, value in values.items() if re.match(rf"{name}\{{", key)]


@pytest.mark.turn("service")
def test_a_closed_index_makes_the_consumer_degraded_and_an_open_one_ready_again(
    consumer: Callable[..., Any], address: str, aws: Any, table: tuple[str, str], opensearch: Any, index: str
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(10))
    process = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    await_equal(lambda: ready(address)[0] == 200)
    assert ready(address)[1] == {"state": "ready", "shards": 1, "degraded": [], "unreachable": {}}
    assert httpx.get(f"{address}/healthz").json() == {"state": "alive"}

    opensearch.indices.close(index=index)
    write(dynamodb, table[0], range(20, 30))
    await_equal(lambda: ready(address)[1]["state"] == "degraded")
    status, body = ready(address)
    (held,) = body["degraded"]
    assert status == 503
    assert (held["table"], held["held_on"]) == (table[0], "OpenSearch: 400 index_closed_exception")
    assert held["seconds"] >= 5
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert max(by_shard(metrics(address), "cdc_held_seconds")) >= 5

    opensearch.indices.open(index=index)
    await_equal(lambda: ready(address)[0] == 200)
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    process.terminate()
    assert process.wait(40) == 0


@pytest.mark.turn("service")
def test_what_prometheus_reads_is_what_was_written(
    consumer: Callable[..., Any],
    address: str,
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
    bucket: str,
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(9))
    process = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    await_equal(lambda: metrics(address)["cdc_archive_objects_total"] >= 1)
    await_equal(lambda: by_shard(metrics(address), "cdc_checkpoint_age_seconds") == [0])
    values = metrics(address)
    assert values[f'cdc_records_total{{table="{table[0]}"}}'] == 9
    assert values[f'cdc_changes_total{{operation="INSERT",table="{table[0]}"}}'] == 7
    assert values[f'cdc_changes_total{{operation="MODIFY",table="{table[0]}"}}'] == 2
    assert values['cdc_outcomes_total{outcome="applied",sink="archive"}'] == 9
    objects = [
        entry
        for entry in aws("s3").list_objects_v2(Bucket=bucket).get("Contents", ())
        if entry["Key"].startswith("cdc")
    ]
    assert values["cdc_archive_objects_total"] == len(objects)
    assert values["cdc_archive_bytes_total"] == sum(entry["Size"] for entry in objects)
    assert values["cdc_leases_held"] == 1
    assert 0 < values["cdc_jvm_heap_used_bytes"] < values["cdc_jvm_heap_max_bytes"]
    (until_loss,) = by_shard(values, "cdc_until_loss_seconds")
    assert 86_400 - 3_600 < until_loss <= 86_400
    process.terminate()
    assert process.wait(40) == 0
    assert ready(address)[0] == 0


def test_a_worker_with_nothing_to_read_is_ready_because_another_reads_it_all(
    deployment: dict[str, str],
    consumer: Callable[..., Any],
    address: str,
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> None:
    dynamodb = aws("dynamodb")
    write(dynamodb, table[0], range(3))
    port = deployment.pop("CDC_HTTP_PORT")
    first = consumer("--table", table[0])
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    deployment.update(CDC_HTTP_PORT=port, CDC_WORKER_ID=f"{deployment['CDC_WORKER_ID']}-second")
    second = consumer("--table", table[0])
    await_equal(lambda: ready(address)[0] == 200)
    assert ready(address)[1]["shards"] == 0
    for process in (second, first):
        process.terminate()
        assert process.wait(40) == 0


def test_a_port_in_use_ends_the_start_with_one_clear_error(
    deployment: dict[str, str], consumer: Callable[..., Any], table: tuple[str, str], tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        deployment.update(CDC_HTTP_PORT=str(port), CDC_HTTP_HOST="127.0.0.1")
        assert consumer("--table", table[0]).wait(60) == 2
    log = (tmp_path / "consumer.log").read_text()
    assert f"error: the port {port} of 127.0.0.1 is in use\n" in log
    assert "Traceback" not in log
