"""The archive replayed on real servers: removed documents are whole again, forgotten deletes are not undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cdc.loads.changes import change_of_item, keys_of, loaded_version
from cdc.loads.deployment import Deployment
from cdc.loads.ghosts import close_by_archive, close_by_lookup
from cdc.outcome import Applied
from cdc.records.stream import Stream
from consumers.aws_lambda import changes as aws_lambda
from consumers.loading import open_deployment
from tests.integration.test_whole_way import Context, deployment, in_index, in_stream, in_table, lambda_record, write

__all__ = ["deployment"]


@pytest.fixture
def deliver(
    deployment: dict[str, str], aws: Any, table: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Delivers the whole stream to the handler, in batches."""
    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    aws_lambda._by_mappings.cache_clear()

    def all_of_it() -> None:
        records = [lambda_record(record, table[1]) for record in in_stream(aws("dynamodbstreams"), table[1])]
        for start in range(0, len(records), 20):
            answer = aws_lambda.handler({"Records": records[start : start + 20]}, Context())
            assert answer == {"batchItemFailures": []}

    return all_of_it


def forget_deletes(opensearch: Any, index: str) -> None:
    opensearch.indices.close(index=index)
    opensearch.indices.open(index=index)
    opensearch.cluster.health(index=index, params={"wait_for_active_shards": "1"})


def replayed(deployment: dict[str, str], table: str, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "consumers", "archive", "replay", "--table", table, "--since", "1h", "--json"]
    environment = {**os.environ, **deployment}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_index_whose_documents_were_removed_by_hand_is_whole_again(
    deliver: Callable[[], None],
    deployment: dict[str, str],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> None:
    write(aws("dynamodb"), table[0], range(60))
    deliver()
    wanted = in_table(aws("dynamodb"), table[0])
    assert in_index(opensearch, index) == wanted
    opensearch.delete_by_query(index=index, body={"query": {"match_all": {}}}, params={"refresh": "true"})
    forget_deletes(opensearch, index)
    assert in_index(opensearch, index) == {}
    summary = replayed(deployment, table[0])
    assert in_index(opensearch, index) == wanted
    assert summary["sinks"]["index"]["changes"] == 60
    assert summary["sinks"]["index"]["dead_letters"] == 0
    replayed(deployment, table[0], "--index", index)
    assert in_index(opensearch, index) == wanted


def test_a_replay_that_ends_before_a_forgotten_delete_brings_nothing_back(
    deliver: Callable[[], None],
    deployment: dict[str, str],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> None:
    write(aws("dynamodb"), table[0], range(20))
    deliver()
    key = {"pk": {"S": "k1"}, "sk": {"S": "x"}}
    assert "k1|x" in in_index(opensearch, index)
    end = datetime.now(UTC) + timedelta(seconds=2)
    while datetime.now(UTC) < end:
        in_stream(aws("dynamodbstreams"), table[1])  # time passes: a stream tells whole seconds
    aws("dynamodb").delete_item(TableName=table[0], Key=key)
    deliver()
    forget_deletes(opensearch, index)
    replayed(deployment, table[0], "--until", end.isoformat())
    assert in_index(opensearch, index) == in_table(aws("dynamodb"), table[0])


@pytest.mark.parametrize("way", ["archive", "lookup"])
def test_a_delete_that_was_forgotten_is_applied_again(
    deliver: Callable[[], None],
    deployment: dict[str, str],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
    way: str,
) -> None:
    write(aws("dynamodb"), table[0], range(20))
    stream = Stream.dynamodb(table[1])
    with open_deployment({**os.environ, **deployment}) as (opened, _):
        began = datetime.now(UTC) - timedelta(seconds=5)
        source = opened.pages.describe(table[0])
        assert (source.keys, source.key_types) == (("pk", "sk"), ("S", "S"))
        compiled = opened.prepare(stream, source.keys)
        page = opened.pages.page(table[0], 0, 1, None)
        aws("dynamodb").delete_item(TableName=table[0], Key={"pk": {"S": "k1"}, "sk": {"S": "x"}})
        deliver()
        forget_deletes(opensearch, index)
        version = loaded_version(stream, page.began_micros)
        _load(opened, [change_of_item(one, keys_of(one, source.keys), stream, version=version) for one in page.items])
        assert in_index(opensearch, index).keys() - in_table(aws("dynamodb"), table[0]).keys() == {"k1|x"}
        if way == "archive":
            assert opened.archive is not None
            close_by_archive(opened, opened.archive, compiled, began, stream=stream)
        else:
            assert close_by_lookup(opened, compiled, source, stream, (version, version)) == 1
    assert in_index(opensearch, index) == in_table(aws("dynamodb"), table[0])


def _load(opened: Deployment, page: list[Any]) -> None:
    from cdc import Deadline

    stream, keys = page[0].stream, tuple(page[0].raw_keys)
    compiled = opened.prepare(stream, keys)
    outcomes = opened.load_sink(opened.index(lambda _table: compiled)).write(page, Deadline.after(30))
    assert Applied() in outcomes
