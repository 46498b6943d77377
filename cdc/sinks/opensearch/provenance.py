"""Provenance: which sources an index has had. An index remembers them, so that one that ranks lower is refused.

A source whose versions rank below what an index holds would be superseded in silence, for ever. `_meta.cdc.tables` of
the index's mapping holds, for each table's name, a `RememberedSource`.
"""

from __future__ import annotations

import msgspec

from cdc.errors import ConfigError
from cdc.records.stream import Stream

__all__ = ["RememberedSource", "admitted"]


class RememberedSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """The memory of an index about one table. Minutes count from 2020-01-01, as in versions."""

    arn: str
    stream: str = ""
    """The newest DynamoDB stream's ARN."""
    minute: int = -1
    """The minute of that stream's creation."""
    kinesis: str = ""
    """The Kinesis data stream's ARN, if there was one."""
    kinesis_since: int | None = None
    """When the table moved to Kinesis."""


def admitted(known: RememberedSource | None, stream: Stream, index: str, minute_now: int) -> RememberedSource:
    """The memory of the index once `stream` writes to it.

    Raises:
        ConfigError: changes of `stream` could rank below older ones that the index holds.
    """
    if known is not None and known.arn != stream.table_arn:
        raise ConfigError(
            f"the index {index} holds documents of {known.arn}; {stream.table_arn} would overwrite their states",
            remedy="Give each table, account and region an index of its own.",
        )
    known = known or RememberedSource(stream.table_arn)
    if stream.minute is None:
        since = minute_now if known.kinesis_since is None else known.kinesis_since
        return msgspec.structs.replace(known, kinesis=stream.arn, kinesis_since=since)
    if known.kinesis_since is not None and stream.minute <= known.kinesis_since:
        raise ConfigError(
            f"the index {index} has been fed by {known.kinesis} since after {stream.arn} was made: "
            "the stream's changes would be superseded in silence",
            remedy="Stop the Kinesis consumer, then disable and enable the table's stream (a new stream ranks higher), "
            "or give the stream a new index.",
        )
    if stream.minute == known.minute and stream.arn != known.stream:
        raise ConfigError(
            f"{stream.arn} was made within the same minute as {known.stream}, which the index {index} holds changes "
            "of: their changes can't be told apart",
            remedy="Disable and enable the table's stream once more, a minute later, or use a new index.",
        )
    if stream.minute < known.minute:
        return known  # older than what is there: read to its end, each change where it belongs
    return msgspec.structs.replace(known, stream=stream.arn, minute=stream.minute)
