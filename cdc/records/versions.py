"""Versions of documents: the time of the stream's creation first, the sequence number second."""

from __future__ import annotations

from cdc.errors import MalformedRecord

__all__ = [
    "END_MICROS",
    "is_below_all_streams",
    "minute_at",
    "minute_of_version",
    "version_at",
    "version_before_stream",
    "version_in_stream",
]


_EPOCH_MINUTE = 26_297_280  # 2020-01-01T00:00Z in minutes since 1970


_MINUTE_BITS = 24


END_MICROS = (_EPOCH_MINUTE + (1 << _MINUTE_BITS)) * 60_000_000
"""The end of the times that fit into a version, in microseconds since 1970: it is in November 2051."""


_RANK_BITS = 39


_HALF_RANK = 1 << (_RANK_BITS - 1)


_COUNTER = 10**20  # below the counter stand 20 digits of a log position


def _version(minute: int, rank: int) -> int:
    if minute >= 1 << _MINUTE_BITS:
        raise MalformedRecord("the time of creation is after 2051: it does not fit a document's version")
    return max(0, minute) << _RANK_BITS | rank  # a stream may be older than 2020; of a table only one lives on


def version_in_stream(stream_minute: int, sequence: int) -> int:
    """The document version of a DynamoDB Streams record: below 2^63, never decreasing as `sequence` grows, and above
    every version of a stream made in an earlier minute."""
    if sequence < _COUNTER:
        return _version(stream_minute, min(sequence, _HALF_RANK - 1))
    return _version(stream_minute, _HALF_RANK + min(sequence // _COUNTER, _HALF_RANK - 1))


def version_before_stream(stream_minute: int) -> int:
    """The document version of an item that was read while a stream was on: above every version of earlier streams,
    below every record of this one."""
    return _version(stream_minute, 0)


def minute_at(seconds: float) -> int:
    """The minute since 2020-01-01T00:00Z of a time in seconds since 1970."""
    return int(seconds // 60) - _EPOCH_MINUTE


def version_at(created_micros: int) -> int:
    """The document version of a change that has no sequence number of the table: by its microsecond since 1970."""
    minute, micros = divmod(created_micros, 60_000_000)
    return _version(minute - _EPOCH_MINUTE, micros)


def minute_of_version(version: int) -> int:
    """The minute since 2020-01-01T00:00Z that a version begins with: of its stream's creation, or of its change."""
    return version >> _RANK_BITS


def is_below_all_streams(version: int) -> bool:
    """Is the version below every record of any stream, as those that OpenSearch counts by itself are?"""
    return version < _HALF_RANK
