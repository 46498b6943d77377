"""Planning: from a table and its price, or an export, to the plan of a load."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

from cdc.errors import ConfigError
from cdc.loads.changes import CLOCK_MARGIN_MICROS, must_be_consistent
from cdc.loads.deployment import Deployment, ExportClients
from cdc.loads.export import check_export, read_export
from cdc.loads.export_request import request_export
from cdc.loads.plan import Plan, Unit, segments_of, units_of, units_of_export
from cdc.loads.price import dollars_of_read_units, read_units_of_scan
from cdc.loads.table import SourceTable
from cdc.mappings.compiled import CompiledMapping
from cdc.records.stream import Stream

__all__ = ["LoadOptions", "Planner", "digest_of", "exports_of", "stream_of"]

_ALWAYS = datetime(2020, 1, 1, tzinfo=UTC)
"""Since when a table has been joined to Kinesis can't be known here."""


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a load is run; none of it changes what is written."""

    workers: int = 4
    """Units at once."""
    max_read_units: float | None = None
    """Read units a second at most."""
    kinesis_stream_arn: str | None = None
    """The Kinesis stream that carries the table's changes; default: the table's own stream."""
    index: str | None = None
    """Only this index of the mapping."""


@dataclass(frozen=True)
class Planner:
    """Makes the plans of new loads."""

    deployment: Deployment
    options: LoadOptions = field(default_factory=LoadOptions)
    observe: Callable[[object], None] = lambda _fact: None
    """Told `ExportAwaited` while an export is waited for."""

    def of_table(self, table: str) -> tuple[Plan, Sequence[Unit]]:
        """The plan of a new load, with its price. Nothing is written but what the table's indices remember of its
        stream.

        Raises:
            ConfigError: the table has no stream, can't be read, or no mapping names an index for it.
        """
        source = self.deployment.pages.describe(table)
        consistent = must_be_consistent(stream_of(source, self.options), self.deployment.now())
        read_units = read_units_of_scan(source.size_bytes, consistent=consistent)
        segments = segments_of(source, self.options.workers)
        return self._planned(source, self._now(), segments, read_units=read_units), units_of(segments)

    def of_export(self, table: str, location: str) -> tuple[Plan, Sequence[Unit]]:
        """The plan of a load from a finished export: `s3://bucket/prefix/AWSDynamoDB/<id>`.

        Raises:
            ConfigError: as `of_table`; or the export can't be read, is broken, of another table, or older than the
                stream.
        """
        source = self.deployment.pages.describe(table)
        export = read_export(exports_of(self.deployment).s3, location)
        by_kinesis = self.options.kinesis_stream_arn is not None
        check_export(export, source, not_before=_ALWAYS if by_kinesis else None)
        plan = self._planned(source, export.time, len(export.files), read_units=0.0)
        return msgspec.structs.replace(plan, export=export, items=export.item_count), units_of_export(export)

    def exported(self, table: str, place: str) -> str:
        """Ask for an export to `s3://bucket/prefix`, and wait until it is finished; its location.

        Raises:
            ConfigError: point-in-time recovery is off, the export failed, or it is not allowed.
            SinkUnavailable: DynamoDB is out of reach.
        """
        source = self.deployment.pages.describe(table)
        stream_of(source, self.options)
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        return request_export(
            exports_of(self.deployment).dynamodb,
            source,
            bucket,
            prefix,
            job=f"{self._now():%Y%m%dT%H}",
            sleep=self.deployment.sleep,
            observe=self.observe,
        )

    def _planned(self, source: SourceTable, began: datetime, units: int, *, read_units: float) -> Plan:
        stream = stream_of(source, self.options)
        compiled = self.compiled(source, stream, None if self.options.index is None else (self.options.index,))
        return Plan(
            job=f"{self._now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
            table=source.name,
            table_id=source.id,
            stream=stream.arn,
            began_at=began - timedelta(microseconds=CLOCK_MARGIN_MICROS),
            mapping=digest_of(compiled),
            indices=tuple(compiled.bodies),
            units=units,
            items=source.item_count,
            size_bytes=source.size_bytes,
            read_units=read_units,
            dollars=dollars_of_read_units(read_units),
        )

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.deployment.now(), UTC)

    def compiled(self, source: SourceTable, stream: Stream, indices: Collection[str] | None) -> CompiledMapping:
        """The table's mapping, for these indices alone, once its indices admit the stream.

        Raises:
            ConfigError: no document of it is for any of these.
        """
        compiled = self.deployment.prepare(stream, source.keys, source.view if stream.minute is not None else None)
        known = ", ".join(compiled.bodies)
        if indices is not None:
            compiled = replace(compiled, owners=tuple(owner for owner in compiled.owners if owner.index in indices))
        if not compiled.bodies:
            named = f"the index {', '.join(indices)}" if indices else "an index"
            raise ConfigError(
                f"no document of {source.name} is for {named} ({compiled.mapping.source}): nothing would be loaded",
                remedy=f"Its indices are: {known}." if known else "Add `documents` to the mapping.",
            )
        return compiled


def exports_of(deployment: Deployment) -> ExportClients:
    """The clients for exports.

    Raises:
        ConfigError: the deployment has none.
    """
    if deployment.exports is None:
        raise ConfigError("this deployment has no clients for exports", remedy="Give it `exports`.")
    return deployment.exports


def stream_of(source: SourceTable, options: LoadOptions) -> Stream:
    """The stream whose records all outrank what is loaded.

    Raises:
        ConfigError: there is none.
    """
    if options.kinesis_stream_arn is not None:
        return Stream.kinesis(options.kinesis_stream_arn, source.name)
    if source.stream is None:
        raise ConfigError(
            f"the table {source.name} has no stream: what is written while it is loaded would be lost",
            remedy=f"aws dynamodb update-table --table-name {source.name} --stream-specification "
            "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES; start the consumer, then begin the load.",
        )
    return source.stream


def digest_of(compiled: CompiledMapping) -> str:
    """A digest of what makes documents one: equal for mappings that leave nothing behind."""
    from cdc.mappings.identity import documents_in

    told = [msgspec.json.encode(documents_in(index, compiled)) for index in sorted(compiled.bodies)]
    return sha256(b"\n".join(told)).hexdigest()[:16]
