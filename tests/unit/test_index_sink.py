"""The index as a sink over the simulated OpenSearch: what is refused, counted and warned about."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from cdc import Applied, Change, Deadline, Superseded
from cdc.errors import SinkMisconfigured
from cdc.mappings.compiled import compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.writes import Put
from cdc.records.decoding import change_from_kinesis
from cdc.records.sequence import SequenceNumber
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.sinks.opensearch.ties import Ties
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change, stream_record

KINESIS = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"


def sink_of(server: Any, **options: Any) -> OpenSearchSink:
    compiled = compile_mapping(
        parse_mapping("table: shop\ndocuments: [{index: orders}]", source="shop.yml"), "shop", ["pk"]
    )
    targets = Targets()
    prepare(server, compiled, change({"pk": "a"}, None, {}).stream, targets)
    return OpenSearchSink(server, lambda _table: compiled, targets, **options)


def from_kinesis(n: int, micros: int, number: int, precision: str) -> Change:
    data = {**stream_record({"pk": "a"}, None, {"n": n}), "tableName": "shop"}
    data["dynamodb"] |= {
        "ApproximateCreationDateTime": micros,
        "ApproximateCreationDateTimePrecision": precision,
    }
    return change_from_kinesis(json.dumps(data).encode(), KINESIS, SequenceNumber.parse(f"{number:056d}", 56))


def test_times_in_milliseconds_stop_the_consumer_with_the_command_that_mends_it() -> None:
    sink = sink_of(SimulatedOpenSearch(SimulatedClock()))
    coarse = from_kinesis(1, 1768469400000, 1, "MILLISECOND")
    with pytest.raises(SinkMisconfigured, match=r"update-kinesis-streaming-destination --table-name shop"):
        sink.write([coarse], Deadline.after(1))


def test_milliseconds_may_be_accepted_and_two_changes_within_one_keep_their_identities() -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    sink = sink_of(server, accept_milliseconds=True)
    one, other = (from_kinesis(n, 1768469400000, n, "MILLISECOND") for n in (1, 2))
    assert one.version == other.version
    assert str(one.identity) != str(other.identity)
    assert sink.write([one], Deadline.after(1)) == [Applied()]
    assert sink.write([other], Deadline.after(1)) == [Applied()]
    assert server.documents("orders")["a"][1]["n"] == 2


def test_equal_versions_of_one_item_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = sink_of(SimulatedOpenSearch(SimulatedClock()), accept_milliseconds=True)
    several = [from_kinesis(n, 1768469400000, n, "MILLISECOND") for n in range(4)]
    sink.write(several, Deadline.after(1))
    assert sink.targets.version_ties == {"orders": 3}
    assert sum("equal versions" in record.getMessage() for record in caplog.records) == 1


def test_a_duplicate_of_a_change_is_no_tie() -> None:
    sink = sink_of(SimulatedOpenSearch(SimulatedClock()))
    twice = [from_kinesis(1, 1768469400000001, number, "MICROSECOND") for number in (1, 2)]
    sink.write(twice, Deadline.after(1))
    assert not sink.targets.version_ties


def samples() -> list[Change]:
    """An INSERT, a MODIFY and a REMOVE of one item whose sequence numbers have one place."""
    first = 4421584500000000017450439091
    arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2015-06-27T00:48:05.899"
    images = [(None, {"n": 1}), ({"n": 1}, {"n": 2}), ({"n": 2}, None)]
    return [
        change({"pk": "a"}, before, after, sequence=first + position, stream_arn=arn)
        for position, (before, after) in enumerate(images)
    ]


@pytest.mark.parametrize("size", [1, 3])
def test_a_replay_of_the_first_of_equal_versions_brings_nothing_back(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    sink = sink_of(server)
    one, two, three = samples()
    assert one.version == two.version == three.version
    for part in ([one, two, three],) if size == 3 else ([one], [two], [three]):
        sink.write(part, Deadline.after(1))
    assert server.documents("orders") == {}
    assert sink.write([one], Deadline.after(1)) == [Superseded(explained=True)]
    assert sink.write([two], Deadline.after(1)) == [Superseded(explained=True)]
    assert server.documents("orders") == {}
    sink.write([one, two, three], Deadline.after(1))
    assert server.documents("orders") == {}
    assert sink.targets.version_ties["orders"] >= 2
    assert sum("equal versions" in record.getMessage() for record in caplog.records) == 1


def test_the_first_of_equal_versions_is_written_where_the_later_ones_are_not() -> None:
    sink = sink_of(SimulatedOpenSearch(SimulatedClock()))
    one, two, _ = samples()
    ties = Ties(most=2)
    (write,) = sink.mapping_of("shop").writes(one)
    assert isinstance(write, Put)
    ties.written(write, one)
    assert not ties.overtaken(write, one)
    ties.written(write, two)
    assert ties.overtaken(write, one)
    assert not ties.overtaken(write, msgspec.structs.replace(one, redriven=True))
    for other in ("x", "y", "z", "z"):
        ties.written(msgspec.structs.replace(write, id=other), one)
    assert not ties.overtaken(write, one), "what is long ago is forgotten"


def test_an_index_that_may_not_remember_its_sources_is_warned_about(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opensearchpy.exceptions import AuthorizationException

    server = SimulatedOpenSearch(SimulatedClock())
    server.indices.create(index="orders-v1", body={"aliases": {"orders": {}}})

    def forbidden(**_options: Any) -> None:
        raise AuthorizationException(403, "security_exception", {})

    monkeypatch.setattr(server.indices, "put_mapping", forbidden)
    sink = sink_of(server)
    assert any("can't remember where its documents come from" in record.getMessage() for record in caplog.records)
    assert sink.write([change({"pk": "a"}, None, {})], Deadline.after(1)) == [Applied()]


def test_an_index_that_is_made_says_that_older_items_are_not_in_it(caplog: pytest.LogCaptureFixture) -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    with caplog.at_level("INFO"):
        sink_of(server)
        sink_of(server)
    said = [
        record.getMessage() for record in caplog.records if "no item that was written before" in record.getMessage()
    ]
    assert len(said) == 1
    assert said[0].startswith("made the index orders-v1 behind the alias orders")
