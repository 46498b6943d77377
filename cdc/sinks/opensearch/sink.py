"""The index: documents in OpenSearch, each at the version of the change it shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.errors import ImageMissing, SinkMisconfigured
from cdc.mappings.document_writer import DocumentWriter
from cdc.mappings.fields import refused_name
from cdc.mappings.writes import Delete, Put, Write
from cdc.observer import UNOBSERVED, Observer, VersionsTied
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Skipped, Superseded, worst
from cdc.records.change import Change
from cdc.sinks.opensearch.answers import Doubtful
from cdc.sinks.opensearch.bulk import action_bytes, chunks, none_spoils, request_failure, verdict
from cdc.sinks.opensearch.client import timeout_of, within
from cdc.sinks.opensearch.concurrency import InFlight
from cdc.sinks.opensearch.doubts import Doubts
from cdc.sinks.opensearch.setting_aside import SettingAside
from cdc.sinks.opensearch.targets import Targets
from cdc.sinks.opensearch.ties import Ties
from cdc.slowest import Slowest

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["OpenSearchSink", "coalesce"]

log = logging.getLogger(__name__)

Send = Callable[[Sequence[Write]], Sequence[Outcome]]

_WORTH_A_REQUEST = 100
"""Operations that a request of its own is worth: with fewer, what a request costs by itself shows."""

_ANSWER = "errors,items.*._index,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by"


def coalesce(writes: Sequence[Write], send: Send) -> list[Outcome]:
    """Send, of the writes to one document, the one with the highest version; the later of equals.

    The others are Superseded once it is Applied or Superseded, Deferred while it is. If it is Rejected, the next
    highest takes its place: the final state is that of sending all of them.
    """
    groups: dict[tuple[str, str, str | None], list[int]] = {}
    for position, write in enumerate(writes):
        groups.setdefault((write.index, write.id, write.routing), []).append(position)
    for group in groups.values():
        if len(group) > 1:
            group.sort(key=lambda position: (writes[position].version, position))
    outcomes: list[Outcome] = [Superseded(explained=True)] * len(writes)
    candidates = list(groups.values())
    while candidates:
        winners = [group.pop() for group in candidates]
        rejected: list[list[int]] = []
        for group, winner, outcome in zip(
            candidates, winners, send([writes[winner] for winner in winners]), strict=True
        ):
            outcomes[winner] = outcome
            if isinstance(outcome, Deferred):
                for position in group:
                    outcomes[position] = outcome
            elif isinstance(outcome, Rejected) and group:
                rejected.append(group)
        candidates = rejected
    return outcomes


@dataclass(frozen=True)
class OpenSearchSink:
    """Writes documents by bulk requests.

    Guarantee: at least once, and no older state over a newer one: every write carries an external version
    (`version_type=external_gte`), so replays and stray writers lose against what is there. OpenSearch forgets the
    version of a deleted document after `index.gc_deletes`, and at a restart of the index.
    """

    client: OpenSearch
    mapping_of: Callable[[str], DocumentWriter]
    targets: Targets
    max_bytes: int = 5 * 1024 * 1024
    max_count: int = 1000
    timeout_seconds: float = 30.0
    accept_milliseconds: bool = False
    name: str = "opensearch"
    observer: Observer = UNOBSERVED
    in_flight: InFlight = field(default_factory=InFlight, repr=False, compare=False)
    """Requests of one round that are sent at once. No two of a round hold the same document, and a round waits for all
    of its own."""
    doubts: Doubts = field(default_factory=Doubts, repr=False, compare=False)
    slowest: Slowest = field(default_factory=Slowest, repr=False, compare=False)
    ties: Ties = field(default_factory=Ties, repr=False, compare=False)
    may_send: Callable[[], bool] = field(default=lambda: True, repr=False, compare=False)
    """Asked before each request: is what the writes were made by still known to hold? If not, they are Deferred."""

    @cached_property
    def _setting_aside(self) -> SettingAside:
        return SettingAside(self.client, self.targets, self.observer, self.timeout_seconds)

    def write(self, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        """One bulk round; see `Sink.write`."""
        writes: list[Write] = []
        owners: list[int] = []
        outcomes: list[list[Outcome]] = [[] for _ in changes]
        for position, change in enumerate(changes):
            for write in self._writes(change):
                if isinstance(write, Rejected):
                    outcomes[position].append(write)
                elif self.ties.overtaken(write, change):
                    outcomes[position].append(Superseded(explained=True))
                else:
                    writes.append(write)
                    owners.append(position)
        self._count_ties(writes, [changes[position] for position in owners])

        def send(sent: Sequence[Write]) -> Sequence[Outcome]:
            return self._setting_aside.sent(sent, lambda again: self._send(again, deadline), deadline)

        answers = coalesce(writes, send)
        for position, write, outcome in zip(owners, writes, answers, strict=True):
            if isinstance(outcome, Applied | Superseded):
                self.ties.written(write, changes[position])
            outcomes[position].append(self._located(outcome, changes[position]))
        return [_joined(found) if found else Skipped("no document takes it") for found in outcomes]

    def _count_ties(self, writes: Sequence[Write], changes: Sequence[Change]) -> None:
        """That a version tells the records of an item apart is inferred, not promised: see when it does not."""
        seen: dict[tuple[str, str, int], Change] = {}
        for write, change in zip(writes, changes, strict=True):
            other = seen.setdefault((write.index, write.id, write.version), change)
            if (other is not change and other.identity != change.identity) or self.ties.follows(write, change):
                self.targets.tie(write.index)
                self.observer(VersionsTied(write.index))

    def _writes(self, change: Change) -> Sequence[Write | Rejected]:
        if change.is_coarse and not self.accept_milliseconds:
            raise SinkMisconfigured(
                self.name,
                f"the changes of {change.table} come with times in milliseconds: two changes of an item within one "
                "could not be ordered",
                remedy=f"aws dynamodb update-kinesis-streaming-destination --table-name {change.table} "
                f"--stream-arn {change.stream.arn} --update-kinesis-streaming-configuration "
                "ApproximateCreationDateTimePrecision=MICROSECOND; or accept it: CDC_KINESIS_PRECISION=millisecond",
            )
        try:
            return self.mapping_of(change.table).writes(change)
        except ImageMissing as error:
            raise SinkMisconfigured(self.name, error.message, remedy=error.remedy) from error

    def _located(self, outcome: Outcome, change: Change) -> Outcome:
        if isinstance(outcome, Rejected):
            return replace(outcome, mapping=self.mapping_of(change.table).mapping.source)
        return outcome

    def flush(self, deadline: Deadline) -> None:
        """OpenSearch answers once a write is in its translog: nothing is left to do."""

    def close(self) -> None:
        """The client is shared by the sinks of all shards; whoever made it closes it."""

    def _send(self, writes: Sequence[Write], deadline: Deadline) -> Sequence[Outcome]:
        vanished = self._vanished(writes, deadline)
        if vanished:
            there = iter(self._send_there([write for write in writes if write.index not in vanished], deadline))
            return [
                Deferred(_vanished(f"the index {write.index}"), 1.0) if write.index in vanished else next(there)
                for write in writes
            ]
        return self._send_there(writes, deadline)

    def _vanished(self, writes: Sequence[Write], deadline: Deadline) -> frozenset[str]:
        """Indices that are gone, of those that these writes would make on the fly.

        OpenSearch heeds `require_alias` for index operations only, and what is no alias can not be guarded by it.
        """
        from opensearchpy.exceptions import OpenSearchException

        aliased = {write.index: self.targets.require_alias(write.index) for write in writes}
        deleted = {write.index for write in writes if isinstance(write, Delete)}
        indices = within(self.client, deadline, self.timeout_seconds).indices
        try:
            return frozenset(
                name
                for name, behind_alias in aliased.items()
                if (behind_alias and name in deleted and not indices.exists_alias(name=name))
                or (not behind_alias and not indices.exists(index=name))
            )
        except OpenSearchException:
            return frozenset()  # what is wrong will be said of the request itself

    def _send_there(self, writes: Sequence[Write], deadline: Deadline) -> Sequence[Outcome]:
        bodies = [action_bytes(write, require_alias=self.targets.require_alias(write.index)) for write in writes]
        count = min(self.max_count, max(_WORTH_A_REQUEST, -(-len(writes) // self.in_flight.most)))
        parts = list(self.doubts.alone(chunks([len(body) for body in bodies], self.max_bytes, count), writes))

        def send(part: slice) -> Sequence[Outcome]:
            return self.doubts.judged(writes[part], none_spoils(self._request(writes[part], bodies[part], deadline)))

        outcomes: list[Outcome] = []
        # a target that ignores versions must be found out by the first request, before any other is sent
        while parts and self.targets.unverified(write.index for write in writes):
            outcomes += send(parts.pop(0))
        for answered in self.in_flight.each(send, parts):
            outcomes += answered
        return outcomes

    def _request(self, writes: Sequence[Write], bodies: Sequence[bytes], deadline: Deadline) -> Sequence[Outcome]:
        if not self.slowest.allows(deadline):
            return [Deferred.untried("the deadline has passed")] * len(writes)
        if not self.may_send():
            return [Deferred.untried("the members of the index are to be read again")] * len(writes)
        from opensearchpy.exceptions import OpenSearchException, SerializationError

        unverified = self.targets.unverified(write.index for write in writes)
        began = deadline.clock()
        try:
            response = self.client.bulk(
                body=b"".join(bodies),
                params={
                    "filter_path": _ANSWER + (",items.*._version" if unverified else ""),
                    "request_timeout": timeout_of(deadline, self.timeout_seconds),
                },
            )
        except SerializationError:
            return [Deferred(_strange("is no JSON"), 1.0)] * len(writes)
        except OpenSearchException as error:
            return self._failed(writes, bodies, deadline, error)
        self.slowest.took(deadline.clock() - began)
        return self._answers(response, writes, unverified)

    def _failed(
        self, writes: Sequence[Write], bodies: Sequence[bytes], deadline: Deadline, error: Exception
    ) -> Sequence[Outcome]:
        """A request-level 400 or 413 may be one operation's fault: halve until it stands alone."""
        outcome = request_failure(error)
        if isinstance(outcome, Doubtful | Rejected) and len(writes) > 1:
            middle = len(writes) // 2
            return [
                *self._request(writes[:middle], bodies[:middle], deadline),
                *self._request(writes[middle:], bodies[middle:], deadline),
            ]
        return [_of(outcome, write) for write in writes]

    def _answers(self, response: Any, writes: Sequence[Write], unverified: frozenset[str]) -> Sequence[Outcome]:
        items = response.get("items") if isinstance(response, Mapping) else None
        if not isinstance(items, list) or len(items) != len(writes):
            return [Deferred(_strange("has not one entry for each operation"), 1.0)] * len(writes)
        if unverified:
            self._verify(items, writes, unverified)
        if response.get("errors") is False and all(isinstance(write, Put) for write in writes):
            return [Applied()] * len(writes)
        return [self._answer(item, write) for item, write in zip(items, writes, strict=True)]

    def _answer(self, item: Mapping[str, Any], write: Write) -> Outcome:
        if isinstance(write, Delete) and self.targets.require_alias(write.index):
            made = item.get("delete", {}).get("_index") == write.index and "error" not in item["delete"]
            if made:  # behind an alias stands an index of another name: the alias went between our look and the delete
                log.error("the alias %s has vanished and a delete made an empty index: remove that index", write.index)
                return Deferred(_vanished(f"the alias {write.index}"), 1.0)
        return _of(verdict(item, write.index if self.targets.require_alias(write.index) else None), write)

    def _verify(self, items: Sequence[Mapping[str, Any]], writes: Sequence[Write], unverified: frozenset[str]) -> None:
        """A target that ignores external versions would let older states win without a sign: stop at the first."""
        for item, write in zip(items, writes, strict=True):
            ((_, answer),) = item.items()
            if write.index not in unverified or "error" in answer or "_version" not in answer:
                continue
            if answer["_version"] != write.version:
                raise SinkMisconfigured(
                    self.name,
                    f"the index {write.index} ignores external versions "
                    f"(sent {write.version}, it holds {answer['_version']}): older changes would overwrite newer ones",
                    remedy="Use an OpenSearch domain or index that honours version_type=external_gte.",
                )
            self.targets.verified(write.index)


def _vanished(what: str) -> Cause:
    return Cause(f"{what} has vanished", CauseKind.INDEX_VANISHED)


def _strange(what: str) -> Cause:
    return Cause(f"OpenSearch's answer {what}", CauseKind.STRANGE_ANSWER)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    """The worst; where several documents were rejected, all of them."""
    outcome = worst(outcomes)
    if isinstance(outcome, Rejected):
        return replace(outcome, others=tuple(o for o in outcomes if isinstance(o, Rejected) and o is not outcome))
    return outcome


def _of(outcome: Outcome, write: Write) -> Outcome:
    """A rejection with the document it was of, and with the remedy for names that OpenSearch refuses."""
    if not isinstance(outcome, Rejected):
        return outcome
    detail = outcome.detail
    if isinstance(write, Put) and (name := refused_name(orjson.loads(write.source))) is not None:
        detail += f"\nOpenSearch takes no field named {name!r}: rename it in the mapping (fields: rename)."
    return replace(outcome, detail=detail, document=f"{write.index}/{write.id}")
