"""HandingOver: a table's reading given from one kind of reader to the other; each step may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from cdc.errors import CdcError, ConfigError
from cdc.loads.deployment import ArchivePlace
from consumers.handover.proof import ShardProof, missing_of, records_of
from consumers.handover.source_mapping import (
    OUR_HANDLER,
    SourceMapping,
    find_source_mapping,
    handler_of,
    look_at,
    switch,
)
from consumers.kcl.leases.handover import StoredLease

__all__ = ["HandedOver", "HandingOver", "Reader", "Readers", "Step"]

Reader = Literal["lambda", "consumer"]

_LOOK_SECONDS = 2.0
_SWITCH_SECONDS = 600.0
_WORKS_SECONDS = 300.0
_ARCHIVED_SECONDS = 600.0
"""How long the archive may lag behind the stream: a flush, and a request that is tried again."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step begins; for people."""

    text: str


class Readers(msgspec.Struct, frozen=True):
    """Who reads the table now."""

    table: str
    stream: str
    mapping: SourceMapping | None
    """The Lambda's event source mapping; None: there is none."""
    worker: str | None
    """A worker of the consumer that lives and has a lease of the table; None: there is none."""
    positions: dict[str, str]
    """The consumer's position in each shard, by the shard's id."""

    @property
    def lambda_reads(self) -> bool:
        """Does the Lambda read it?"""
        return self.mapping is not None and self.mapping.state == "Enabled"


class HandedOver(msgspec.Struct, frozen=True):
    """The end of a hand-over."""

    table: str
    reader: Reader
    since: datetime
    proof: tuple[ShardProof, ...]

    @property
    def is_whole(self) -> bool:
        """Is every record in the archive?"""
        return not any(shard.missing for shard in self.proof)


@dataclass(frozen=True)
class HandingOver:
    """Hands one table over."""

    table: str
    stream_arn: str
    lambda_client: Any
    streams: Any
    """boto3's clients of Lambda and of DynamoDB Streams."""
    leases: Callable[[], Sequence[StoredLease]]
    """The consumer's leases of the table; none where it never ran."""
    live_worker: Callable[[Sequence[StoredLease]], str | None]
    """A worker that lives and has one of these leases; it takes as long as a lease lasts to say that there is none."""
    shards: Callable[[], Collection[str]]
    """The ids of the stream's shards."""
    archive: ArchivePlace
    application: str
    function: str | None = None
    repeats: bool = False
    """May functions of one's own get changes again?"""
    since: timedelta = timedelta(hours=1)
    """So far back the proof looks."""
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    observe: Callable[[Step], None] = lambda _step: None

    def readers(self) -> Readers:
        """Who reads the table now.

        Raises:
            ConfigError: AWS refuses to be asked.
            ConsumerFailed: AWS is out of reach.
        """
        leases = self.leases()
        mapping = find_source_mapping(self.lambda_client, self.stream_arn, self.function)
        positions = {lease.shard: lease.checkpoint for lease in leases}
        return Readers(self.table, self.stream_arn, mapping, self.live_worker(leases), positions)

    def run(self, to: Reader) -> HandedOver:
        """Let the new reader begin beside the old one, let the old one end, and prove that no change was missed.

        Raises:
            ConfigError: the new reader is not deployed, does not begin at TRIM_HORIZON, or is not right otherwise.
            CdcError: somebody has to start or stop the consumer first, and has not; the same command goes on.
        """
        return self._to_lambda() if to == "lambda" else self._to_consumer()

    def _to_lambda(self) -> HandedOver:
        mapping = self._mapping_wanted()
        self._check(mapping)
        if mapping.state != "Enabled":
            self.observe(Step(f"switching {mapping.function} on"))
            switch(self.lambda_client, mapping.uuid, on=True)
        self._await_state(mapping, "Enabled")
        self._await(
            lambda: not look_at(self.lambda_client, mapping.uuid).result.startswith("PROBLEM"),
            _WORKS_SECONDS,
            CdcError(
                f"{mapping.function} fails: {look_at(self.lambda_client, mapping.uuid).result}",
                remedy="Look into its log. The consumer still reads: nothing is missed. Then run this again.",
            ),
        )
        if self.live_worker(self.leases()) is not None:
            self.observe(
                Step(f"stop the workers of the application {self.application} that read {self.table} now; waiting")
            )
        while (worker := self.live_worker(self.leases())) is not None:
            self.observe(Step(f"worker {worker} still reads"))
            self.sleep(_LOOK_SECONDS)
        return self._proven("lambda")

    def _to_consumer(self) -> HandedOver:
        mapping = find_source_mapping(self.lambda_client, self.stream_arn, self.function)
        if mapping is not None:
            self._check(mapping)
        began = self._time()
        self.observe(Step(f"start the consumer now, if it does not run: cdc run --table {self.table}; waiting"))
        while not self._consumer_has_passed(began):
            self.sleep(_LOOK_SECONDS)
        if mapping is not None and mapping.state != "Disabled":
            self.observe(Step(f"switching {mapping.function} off"))
            switch(self.lambda_client, mapping.uuid, on=False)
            self._await_state(mapping, "Disabled")
        return self._proven("consumer")

    def _consumer_has_passed(self, moment: datetime) -> bool:
        """Does a worker live, and is every shard read up to this moment?"""
        leases = {lease.shard: lease for lease in self.leases()}
        if self.live_worker(list(leases.values())) is None:
            return False
        for shard in self.shards():
            lease = leases.get(shard)
            if lease is None:
                return False
            if not lease.ended and self._is_behind(shard, lease.checkpoint, moment):
                return False
        return True

    def _is_behind(self, shard: str, position: str, moment: datetime) -> bool:
        begins: Any = {"ShardIteratorType": "TRIM_HORIZON"}
        if position.isdecimal():
            begins = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": position}
        token = self.streams.get_shard_iterator(StreamArn=self.stream_arn, ShardId=shard, **begins).get("ShardIterator")
        if not token:
            return False
        page = self.streams.get_records(ShardIterator=token, Limit=1)
        return any(record["dynamodb"]["ApproximateCreationDateTime"] <= moment for record in page["Records"])

    def _mapping_wanted(self) -> SourceMapping:
        mapping = find_source_mapping(self.lambda_client, self.stream_arn, self.function)
        if mapping is None:
            raise ConfigError(
                f"no function reads {self.stream_arn}",
                remedy="Deploy the Lambda first (docs/lambda.md), with its event source mapping switched off.",
            )
        return mapping

    def _check(self, mapping: SourceMapping) -> None:
        if mapping.begins != "TRIM_HORIZON":
            raise ConfigError(
                f"the event source mapping of {mapping.function} begins at {mapping.begins}: it leaves changes out",
                remedy="Deploy it with StartingPosition=TRIM_HORIZON.",
            )
        if not mapping.reports_items:
            raise ConfigError(
                f"the event source mapping of {mapping.function} does not heed partial batch responses",
                remedy="Deploy it with FunctionResponseTypes: [ReportBatchItemFailures].",
            )
        handler = handler_of(self.lambda_client, mapping.function)
        if handler not in ("", OUR_HANDLER) and not self.repeats:
            raise ConfigError(
                f"{mapping.function} has a handler of its own ({handler}): while both readers run, its functions get "
                "changes that the other has written already",
                remedy="If they bear that, say --repeats; else stop the old reader before you start the new one.",
            )

    def _await_state(self, mapping: SourceMapping, state: str) -> None:
        self._await(
            lambda: look_at(self.lambda_client, mapping.uuid).state == state,
            _SWITCH_SECONDS,
            CdcError(
                f"the event source mapping of {mapping.function} is not {state} after {_SWITCH_SECONDS:.0f} s",
                remedy="Run this again: it goes on.",
            ),
        )

    def _proven(self, reader: Reader) -> HandedOver:
        """Wait until the archive has every record that was made by now."""
        until = self._time()
        since = until - self.since
        self.observe(Step("reading the stream, and the archive"))
        shards = sorted(self.shards())
        records: Mapping[str, Sequence[str]] = records_of(self.streams, self.stream_arn, shards, since, until)
        ends = self.clock() + _ARCHIVED_SECONDS
        while True:
            proof = tuple(missing_of(self.archive, self.table, self.stream_arn, records, since))
            if not any(shard.missing for shard in proof) or self.clock() > ends:
                return HandedOver(self.table, reader, since, proof)
            self.sleep(_LOOK_SECONDS)

    def _await(self, check: Callable[[], bool], seconds: float, failure: CdcError) -> None:
        ends = self.clock() + seconds
        while not check():
            if self.clock() > ends:
                raise failure
            self.sleep(_LOOK_SECONDS)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)
