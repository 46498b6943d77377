"""Provenance: which sources an index has had. An index remembers them, so that one that ranks lower is refused.

A source whose versions rank below what an index holds would be superseded in silence, for ever. `_meta.cdc.tables` of
the index's mapping holds, for each table's name, a `RememberedSource`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from cdc.errors import ConfigError
from cdc.records.stream import Stream
from cdc.records.versions import minute_at

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["RememberedSource", "admit", "admitted"]

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_LOOK_AGAIN_SECONDS = (0.1, 0.5)


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


def admit(
    client: OpenSearch, index: str, stream: Stream, now: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    """Check `stream` against what `index` remembers, and have it remembered.

    Raises:
        ConfigError: its changes could rank below older ones that the index holds.
        OpenSearchException: the index can't be read.
    """
    from opensearchpy.exceptions import AuthorizationException

    for concrete, state in client.indices.get_mapping(index=index).items():
        meta = dict(state.get("mappings", {}).get("_meta", {}))
        for _ in range(_ATTEMPTS):
            known = _known(meta, stream.table, concrete)
            source = admitted(known, stream, index, minute_at(now()))
            if source == known:
                break
            try:
                client.indices.put_mapping(index=concrete, body={"_meta": _remembering(meta, stream.table, source)})
            except AuthorizationException as error:
                if error.error == "cluster_block_exception":
                    raise  # of an index that is read-only for a while, not of a permission
                log.warning(
                    "%s can't remember where its documents come from, so a source that ranks lower will not be seen: "
                    "allow this user or role to put its mapping",
                    concrete,
                )
                break
            # another consumer may have written over it, as this one may have over another's: look again a little later
            sleep(random.uniform(*_LOOK_AGAIN_SECONDS))  # noqa: S311  (not a secret)
            meta = dict(client.indices.get_mapping(index=concrete)[concrete]["mappings"].get("_meta", {}))


def _known(meta: Mapping[str, Any], table: str, concrete: str) -> RememberedSource | None:
    entry = meta.get("cdc", {}).get("tables", {}).get(table)
    try:
        return None if entry is None else msgspec.convert(entry, RememberedSource)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"_meta.cdc.tables.{table} of the index {concrete} can't be read: {error}",
            remedy="It was written by another version: remove it from the index's mapping, or use a new index.",
        ) from error


def _remembering(meta: Mapping[str, Any], table: str, source: RememberedSource) -> dict[str, Any]:
    cdc = meta.get("cdc", {})
    tables = {**cdc.get("tables", {}), table: msgspec.to_builtins(source)}
    return {**meta, "cdc": {**cdc, "tables": tables}}
