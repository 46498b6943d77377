"""Tombstones: an item that was deleted stays so, whatever wakes up late; and an index that remembers its sources."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from opensearchpy import OpenSearch

from cdc import Applied, Deadline, Superseded
from cdc.errors import ConfigError, SinkMisconfigured, SinkUnavailable
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.records.stream import Stream
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.purge import purge
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.sinks.opensearch.tombstones import ALIVE
from cdc.testing import STREAM_ARN, change

STREAM = Stream.dynamodb(STREAM_ARN)
MADE = change({"pk": "a"}, None, {"n": 1}, sequence=1 * 10**20)
GONE = change({"pk": "a"}, {"n": 1}, None, sequence=2 * 10**20)
AGAIN = change({"pk": "a"}, None, {"n": 3}, sequence=3 * 10**20)


def sink_of(client: OpenSearch, index: str, policy: str = "tombstone", stream: Stream = STREAM) -> OpenSearchSink:
    text = f"table: shop\ndocuments: [{{index: {index}, on_remove: {policy}}}]"
    compiled = compile_mapping(parse_mapping(text, source="shop.yml"), "shop", ["pk"])
    targets = Targets()
    prepare(client, compiled, stream, targets)
    return OpenSearchSink(client, lambda _table: compiled, targets)


def count(client: OpenSearch, index: str) -> int:
    client.indices.refresh(index=index)
    return int(client.count(index=index)["count"])


def forget_deletes(client: OpenSearch, index: str) -> None:
    client.indices.close(index=index)
    client.indices.open(index=index)
    client.cluster.health(index=index, params={"wait_for_active_shards": "1"})


@pytest.mark.parametrize(("policy", "outcome"), [("tombstone", Superseded()), ("delete", Applied())])
def test_an_older_write_after_a_restart_brings_back_a_delete_but_no_tombstone(
    opensearch: OpenSearch, index: str, policy: str, outcome: object
) -> None:
    sink = sink_of(opensearch, index, policy)
    sink.write([MADE], Deadline.after(30))
    sink.write([GONE], Deadline.after(30))
    forget_deletes(opensearch, index)
    assert sink.write([MADE], Deadline.after(30)) == [outcome]


def test_searches_leave_tombstones_out_and_an_item_may_be_made_anew(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index)
    sink.write([MADE, GONE], Deadline.after(30))
    assert (count(opensearch, index), count(opensearch, f"{index}-v1")) == (0, 1)
    assert sink.write([AGAIN], Deadline.after(30)) == [Applied()]
    assert (count(opensearch, index), count(opensearch, f"{index}-v1")) == (1, 1)


def test_purging_removes_old_tombstones_and_nothing_else(opensearch: OpenSearch, index: str) -> None:
    sink = sink_of(opensearch, index)
    others = [change({"pk": f"k{n}"}, {"n": n}, None, sequence=2 * 10**20, created=1768469400.0 + n) for n in range(9)]
    sink.write([MADE, GONE, *others], Deadline.after(30))
    sink.write([AGAIN], Deadline.after(30))
    made = datetime.fromtimestamp(1768469400, UTC)
    assert purge(opensearch, index, timedelta(hours=25), made + timedelta(hours=25)) == 0
    assert purge(opensearch, index, timedelta(hours=25), made + timedelta(hours=25, seconds=5)) == 5
    assert purge(opensearch, index, timedelta(hours=25), made + timedelta(days=9)) == 4
    assert (count(opensearch, index), count(opensearch, f"{index}-v1")) == (1, 1)


def test_tombstones_that_a_stream_may_need_are_purged_by_force_only(opensearch: OpenSearch, index: str) -> None:
    sink_of(opensearch, index).write([GONE], Deadline.after(30))
    now = datetime.fromtimestamp(1768469400, UTC) + timedelta(hours=2)
    with pytest.raises(ConfigError, match="--force"):
        purge(opensearch, index, timedelta(hours=1), now)
    assert purge(opensearch, index, timedelta(hours=1), now, force=True) == 1
    with pytest.raises(ConfigError, match="there is no index"):
        purge(opensearch, f"{index}-nowhere", timedelta(hours=25), now)


def test_an_index_fed_by_kinesis_wants_to_know_how_long_that_remembers(opensearch: OpenSearch, index: str) -> None:
    kinesis = Stream.kinesis("arn:aws:kinesis:eu-west-1:111122223333:stream/changes", "shop")
    sink_of(opensearch, index, stream=kinesis).write([GONE], Deadline.after(30))
    now = datetime.fromtimestamp(1768469400, UTC) + timedelta(days=9)
    with pytest.raises(ConfigError, match="--retention"):
        purge(opensearch, index, timedelta(hours=25), now)
    with pytest.raises(ConfigError, match="younger than 168 hours"):
        purge(opensearch, index, timedelta(hours=25), now, retention=timedelta(days=7))
    assert purge(opensearch, index, timedelta(days=8), now, retention=timedelta(days=7)) == 1


def test_a_purge_that_is_refused_says_so(opensearch: OpenSearch, index: str) -> None:
    sink_of(opensearch, index).write([GONE], Deadline.after(30))
    opensearch.indices.put_settings(index=index, body={"index.blocks.write": True})
    now = datetime.fromtimestamp(1768469400, UTC) + timedelta(days=9)
    with pytest.raises(SinkUnavailable, match="1 of 1 tombstones"):
        purge(opensearch, index, timedelta(hours=25), now)


def test_an_alias_that_would_show_tombstones_is_refused(opensearch: OpenSearch, index: str) -> None:
    opensearch.indices.create(index=f"{index}-own", body={"aliases": {index: {}}})
    with pytest.raises(SinkMisconfigured, match="would show tombstones"):
        sink_of(opensearch, index)
    opensearch.indices.put_alias(index=f"{index}-own", name=index, body=ALIVE)
    sink_of(opensearch, index)
    mapping = opensearch.indices.get_mapping(index=f"{index}-own")[f"{index}-own"]["mappings"]
    assert mapping["properties"][TOMBSTONE_FIELD] == {"type": "date"}
    with pytest.raises(SinkMisconfigured, match="by an alias only"):
        sink_of(opensearch, f"{index}-own")


def test_an_index_remembers_its_sources_and_refuses_what_ranks_lower(opensearch: OpenSearch, index: str) -> None:
    newer = Stream.dynamodb(STREAM_ARN.replace("T09:30", "T09:45"))
    same_minute = Stream.dynamodb(STREAM_ARN.replace("T09:30:00", "T09:45:59"))
    for welcome in (STREAM, newer, STREAM):
        sink_of(opensearch, index, stream=welcome)
    (state,) = opensearch.indices.get_mapping(index=index).values()
    assert state["mappings"]["_meta"]["cdc"]["tables"]["shop"]["stream"] == newer.arn
    with pytest.raises(ConfigError, match="same minute"):
        sink_of(opensearch, index, stream=same_minute)
    with pytest.raises(ConfigError, match="an index of its own"):
        sink_of(opensearch, index, stream=Stream.dynamodb(STREAM_ARN.replace("eu-west-1", "us-east-1")))
