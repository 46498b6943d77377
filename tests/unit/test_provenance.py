"""An index refuses a source that would rank below what it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import ConfigError
from cdc.records.stream import Stream
from cdc.sinks.opensearch.provenance import RememberedSource, admitted

NOW = 3_500_000


def stream(created: str, region: str = "eu-west-1") -> Stream:
    return Stream.dynamodb(f"arn:aws:dynamodb:{region}:111122223333:table/shop/stream/{created}")


OLD, NEW, NEWER = (stream(f"2026-01-15T09:{minute}:00.123") for minute in (30, 31, 32))
KINESIS = Stream.kinesis("arn:aws:kinesis:eu-west-1:111122223333:stream/changes", "shop")


def known(*streams: Stream, minute_now: int = NOW) -> RememberedSource | None:
    source: RememberedSource | None = None
    for one in streams:
        source = admitted(source, one, "orders", minute_now)
    return source


def test_the_newest_stream_is_remembered_and_an_older_one_is_welcome() -> None:
    source = known(OLD, NEWER, NEW)
    assert source is not None
    assert (source.stream, source.arn) == (NEWER.arn, OLD.table_arn)


def test_the_same_stream_is_admitted_again_and_again() -> None:
    assert known(NEW, NEW) == known(NEW)


def test_a_replica_in_another_region_is_refused() -> None:
    with pytest.raises(ConfigError, match="an index of its own"):
        known(OLD, stream("2026-01-15T10:30:00.000", "us-east-1"))


def test_another_stream_of_the_same_minute_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"within the same minute(.|\n)*Disable and enable"):
        known(OLD, stream("2026-01-15T09:30:59.999"))


def test_two_streams_of_one_minute_are_welcome_once_a_newer_one_is_read() -> None:
    assert known(NEWER, OLD, stream("2026-01-15T09:30:59.999")) == known(NEWER)


def test_a_table_moves_to_kinesis_without_a_rebuild_and_not_back() -> None:
    moved = OLD.minute
    assert moved is not None
    source = known(OLD, KINESIS, minute_now=moved + 1)
    assert admitted(source, KINESIS, "orders", moved + 99) == source
    for refused in (OLD, NEW):
        with pytest.raises(ConfigError, match="superseded in silence"):
            admitted(source, refused, "orders", moved + 99)
    assert admitted(source, NEWER, "orders", moved + 99).stream == NEWER.arn


def test_kinesis_of_another_region_is_refused() -> None:
    with pytest.raises(ConfigError, match="an index of its own"):
        known(OLD, Stream.kinesis("arn:aws:kinesis:us-east-1:111122223333:stream/changes", "shop"))


@given(st.lists(st.integers(0, 59), min_size=1, max_size=6, unique=True))
def test_streams_of_different_minutes_are_admitted_in_any_order(minutes: list[int]) -> None:
    source = known(*(stream(f"2026-01-15T09:{minute:02d}:00.000") for minute in minutes))
    assert source is not None
    assert source.stream.endswith(f"T09:{max(minutes):02d}:00.000")
