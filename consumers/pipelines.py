"""Pipelines: the sinks of a shard and what stands around each, by one of two profiles."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import tenacity

from cdc.dead_letters.s3 import AnnouncedDeadLetters
from cdc.deadline import Clock, Deadline
from cdc.delivery.age_limit import AgeLimit
from cdc.delivery.breaker import Breaker
from cdc.delivery.checked import Checked
from cdc.delivery.conflict_alarm import ConflictAlarm
from cdc.delivery.dead_lettering import DeadLettering
from cdc.delivery.fanout import Fanout
from cdc.delivery.missing_image import ReadMissingImage
from cdc.delivery.observed import Observed
from cdc.delivery.pipeline import Pipeline, Prepare
from cdc.delivery.retrying import Retrying, until_deadline
from cdc.delivery.traced import Traced
from cdc.duration import parse_seconds
from cdc.errors import SinkUnavailable
from cdc.mappings.document_writer import DocumentWriter
from cdc.observer import UNOBSERVED, Observer
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.sinks import Sink
from cdc.tracing import UNTRACED, Spans
from consumers.clients import ANNOUNCING_SECONDS, Clients
from consumers.preparation import TablePreparation
from consumers.settings import Settings

if TYPE_CHECKING:
    from cdc.sinks.opensearch.members import Members
    from cdc.sinks.opensearch.targets import Targets

__all__ = ["CONSUMER", "LAMBDA", "LOAD", "PipelineFactory", "Profile"]

Sleep = Callable[[float], None]

_BETWEEN_SECONDS = 2.0
"""The time of a flush beside its request: compressing, and other tables of the same batch."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The differences between the two ways to run a pipeline."""

    age_limited: bool
    """A change that is deferred for too long becomes a dead letter."""
    punctual: bool
    """Nothing begins that may end after the deadline; dead letters and archive have their share of the time."""


LAMBDA = Profile(age_limited=False, punctual=True)
"""The event source mapping itself gives old records up; an invocation ends by its deadline."""
CONSUMER = Profile(age_limited=True, punctual=False)
"""The stream trims what waits too long; a shard waits as long as it has to."""
LOAD = Profile(age_limited=False, punctual=False)
"""An item of a table that is loaded has no age, and waits as long as it has to."""


@dataclass(frozen=True)
class PipelineFactory:
    """Makes pipelines, which are cheap: one a shard."""

    settings: Settings
    clients: Clients
    tables: TablePreparation
    targets: Targets | None = None
    own: Callable[[], Sink] | None = None
    """Makes the functions' sink, or gives a sink of the user's own."""
    observer: Observer = UNOBSERVED
    spans: Spans = UNTRACED
    clock: Clock = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Sleep = time.sleep

    @property
    def reserved_seconds(self) -> float:
        """The time that a punctual pipeline keeps for what comes after the writes."""
        return self._letter_seconds + self._flush_seconds

    @property
    def _letter_seconds(self) -> float:
        """The time that storing one dead letter may take, its announcement included."""
        kept = self.clients.dead_letters
        announcing = ANNOUNCING_SECONDS if isinstance(kept, AnnouncedDeadLetters) else 0.0
        return 0.0 if kept is None else self.settings.aws_timeout_seconds + announcing

    @property
    def _flush_seconds(self) -> float:
        """The time that putting one object of the archive may take, and what comes between."""
        return 0.0 if self.clients.archive is None else self.settings.aws_timeout_seconds + _BETWEEN_SECONDS

    def pipeline(self, profile: Profile, sleep: Sleep | None = None) -> Pipeline:
        """A pipeline for one shard.

        Args:
            sleep: waits between attempts; default: the process's own.
        """
        sleep = sleep or self.sleep
        sinks: list[Sink] = []
        index = self.index(self.tables.mapping)
        if index is not None:
            sinks.append(ReadMissingImage(index, self.clients.items))
        if self.own is not None:
            sinks.append(self.own())
        archive = self.archive(sleep, needs_seconds=self.settings.aws_timeout_seconds if profile.punctual else 0.0)
        return Pipeline(
            Fanout(
                tuple(self.around(sink, profile, sleep) for sink in sinks),
                None if archive is None else self.around(archive, profile, sleep),
            ),
            self.clients.dead_letters,
            self.observer,
            letter_seconds=self._letter_seconds if profile.punctual else 0.0,
            flush_seconds=self._flush_seconds if profile.punctual else None,
            prepare=self._patient(sleep) if profile.punctual else self.tables.prepare,
        )

    def around(self, sink: Sink, profile: Profile, sleep: Sleep) -> Sink:
        """The sink with all that stands around every sink, from the inside out."""
        sink = Checked(sink)
        sink = self._retrying(sink, sleep)
        sink = ConflictAlarm(sink, started=self.now())
        if self.settings.on_mass_reject == "hold":
            sink = Breaker(sink)
            if profile.punctual:
                # an answer at once would come again at once, and use up the event source mapping's retries
                sink = self._retrying(sink, sleep)
        if profile.age_limited:
            sink = AgeLimit(sink, parse_seconds(self.settings.defer_max_age), clock=self.clock, now=self.now)
        sink = DeadLettering(
            sink,
            self.clients.dead_letters,
            lambda: datetime.fromtimestamp(self.now(), UTC),
            self.observer,
            needs_seconds=self._letter_seconds if profile.punctual else 0.0,
        )
        if self.spans is not UNTRACED:
            sink = Traced(sink, self.spans)
        return Observed(sink, self.observer, self.clock)

    def _retrying(self, sink: Sink, sleep: Sleep) -> Sink:
        return Retrying(
            sink, wait_max_seconds=self.settings.retry_wait_max_seconds, sleep=sleep, observer=self.observer
        )

    def _patient(self, sleep: Sleep) -> Prepare:
        """Prepares a table; tries again until the deadline while a server is out of reach."""

        def prepare(stream: Stream, keys: Sequence[str], view: StreamView, deadline: Deadline) -> None:
            until_deadline(
                deadline,
                tenacity.retry_if_exception_type(SinkUnavailable),
                wait_max_seconds=self.settings.retry_wait_max_seconds,
                sleep=sleep,
            )(self.tables.prepare, stream, keys, view, deadline)

        return prepare

    @cached_property
    def members(self) -> Members | None:
        """The knowledge of this process of the members of its indices; None if there is no index."""
        if self.clients.opensearch is None or self.targets is None:
            return None
        from cdc.sinks.opensearch.members import Members

        timeout_seconds = self.settings.opensearch_timeout_seconds
        return Members(self.clients.opensearch, self.targets, self.clock, self.now, timeout_seconds)

    def index(self, mapping_of: Callable[[str], DocumentWriter], *, mended: bool = False) -> Sink | None:
        """All members of the indices of these mappings, as each carries them, with nothing around; None if there is no
        index.

        Args:
            mended: for a redrive, whose mapping file may have been mended before the consumers got it.
        """
        members, targets = self.members, self.targets
        if members is None or targets is None:
            return None
        from cdc.sinks.opensearch.fresh_members import FreshMembers

        return FreshMembers(partial(self._index, targets), mapping_of, members, mended=mended)

    def concrete_index(self, mapping_of: Callable[[str], DocumentWriter]) -> Sink | None:
        """The concrete indices that these mappings name, and no other; None if there is no index."""
        if self.clients.opensearch is None:
            return None
        from cdc.sinks.opensearch.targets import Targets

        return self._index(Targets(concrete=True), mapping_of, lambda: True)

    def _index(
        self, targets: Targets, mapping_of: Callable[[str], DocumentWriter], may_send: Callable[[], bool]
    ) -> Sink:
        from cdc.sinks.opensearch.concurrency import InFlight
        from cdc.sinks.opensearch.sink import OpenSearchSink

        client: Any = self.clients.opensearch
        return OpenSearchSink(
            client=client,
            mapping_of=mapping_of,
            targets=targets,
            max_bytes=self.settings.bulk_bytes,
            max_count=self.settings.bulk_count,
            in_flight=InFlight(self.settings.bulks_in_flight),
            timeout_seconds=self.settings.opensearch_timeout_seconds,
            accept_milliseconds=self.settings.kinesis_precision == "millisecond",
            observer=self.observer,
            may_send=may_send,
        )

    def archive(self, sleep: Sleep = time.sleep, *, needs_seconds: float = 0.0) -> Sink | None:
        """The archive with nothing in it yet and nothing around it; None if there is none.

        Args:
            needs_seconds: no request begins with less time left.
        """
        if self.clients.archive is None or self.settings.archive_bucket is None:
            return None
        from cdc.sinks.archive_s3 import S3Archive

        return S3Archive(
            self.clients.archive,
            self.settings.archive_bucket,
            lambda table: self.tables.mapping(table).mapping,
            prefix=self.settings.archive_prefix,
            kms_key=self.settings.archive_kms_key,
            sleep=sleep,
            observer=self.observer,
            needs_seconds=needs_seconds,
        )
