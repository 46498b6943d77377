"""Redriving: from a runtime to what redrives the dead letters of its deployment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

from cdc.aws_errors import code_of, translated
from cdc.dead_letters.redrive import Redriver
from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.compiled import CompiledMapping
from cdc.records.stream import Stream
from cdc.sinks import Sink
from consumers.runtime import Runtime

__all__ = ["NO_BUCKET", "OwnTables", "make_redriver"]

log = logging.getLogger(__name__)

NO_BUCKET = "Set CDC_DEAD_LETTER_BUCKET to the bucket of the consumer."


def make_redriver(runtime: Runtime, *, from_letter: bool = False) -> Redriver:
    """The redriver of this deployment's letters.

    Raises:
        ConfigError: no bucket for dead letters is configured.
    """
    store, letters = runtime.clients.dead_letters, runtime.clients.letters
    if store is None or letters is None:
        raise ConfigError("no dead-letter bucket is configured", remedy=NO_BUCKET)
    return Redriver(
        destinations=_Destinations(runtime),
        items=runtime.clients.items,
        letters=letters,
        dead_letters=store,
        check=OwnTables(),
        from_letter=from_letter,
    )


@dataclass(frozen=True)
class _Destinations:
    runtime: Runtime

    @property
    def functions(self) -> Sink | None:
        own = self.runtime.pipelines.own
        return None if own is None else own()

    def prepare(self, stream: Stream, keys: Sequence[str]) -> CompiledMapping:
        return self.runtime.tables.prepare(stream, keys, remember=False)

    def index(self, mapping_of: Callable[[str], CompiledMapping]) -> Sink | None:
        return self.runtime.pipelines.index(mapping_of, mended=True)

    def archive(self) -> Sink | None:
        return self.runtime.pipelines.archive()


@dataclass(frozen=True)
class OwnTables:
    """Refuses a table of the same name in another account or region: its items would be written to this index."""

    describe: Callable[[str], str] = field(default_factory=lambda: cache(_table_arn))

    def __call__(self, stream: Stream) -> None:
        """
        Raises:
            SinkUnavailable: it is another, or there is none.
        """
        here = self.describe(stream.table)
        if here and here.split(":")[3:5] != stream.arn.split(":")[3:5]:
            raise SinkUnavailable(
                "table",
                f"the stream is {stream.arn}, and the table that can be read here is {here}",
                remedy="Run this with the credentials of that account and with its AWS_REGION.",
            )


def _table_arn(table: str) -> str:
    import boto3

    remedy = "Check AWS_REGION and the credentials; --from-letter does without the table."
    try:
        with translated("table", f"the table {table} can't be looked up", remedy, quotes=False):
            return boto3.client("dynamodb").describe_table(TableName=table)["Table"]["TableArn"]
    except SinkUnavailable as error:
        if code_of(error.__cause__) != "AccessDeniedException":
            raise
        log.warning("dynamodb:DescribeTable is not allowed on %s: that it is the stream's table is assumed", table)
        return ""
