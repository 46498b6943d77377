"""The promise's rules, each broken on purpose: the simulation must find every one of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import orjson
import pytest

from cdc import archive
from cdc.archive import Segment
from cdc.causes import Cause
from cdc.dead_letters import latest_state as present
from cdc.dead_letters import letter
from cdc.deadline import Deadline
from cdc.delivery import age_limit, pipeline, shard
from cdc.delivery import dead_lettering as dead_letters
from cdc.mappings.writes import Write
from cdc.outcome import Applied, Deferred, Outcome, Progress, Rejected, Superseded, leading_settled
from cdc.records import change
from cdc.records.change import Change
from cdc.records.decoding import Record
from cdc.sinks import archive_s3 as s3
from cdc.sinks.opensearch import bulk
from cdc.sinks.opensearch import sink as opensearch
from cdc.sinks.opensearch.targets import Targets
from cdc.testing.simulated import batches, kcl
from cdc.testing.simulated.leases import SimulatedLease
from tests.simulation.broken_rules_of_loads import BROKEN_RULES_OF_LOADS
from tests.simulation.broken_rules_of_rebuilds import BROKEN_RULES_OF_REBUILDS

__all__ = ["BROKEN_RULES", "Break"]

Break = Callable[[pytest.MonkeyPatch], None]


def acknowledge_before_flush(patch: pytest.MonkeyPatch) -> None:
    def flush(self: shard.ShardConsumer, checkpoint: shard.Checkpoint) -> None:
        if self._settled is not None:
            self._checkpoint(checkpoint)
            self._flush_pipeline(self._wanted)

    def process(self: pipeline.Pipeline, records: Sequence[Record], deadline: Deadline) -> Progress:
        count = leading_settled(self.write(records, deadline))
        return Progress(count, None if count == len(records) else records[count].sequence)

    patch.setattr(shard.ShardConsumer, "_flush", flush)
    patch.setattr(pipeline.Pipeline, "process", process)


def index_without_version(patch: pytest.MonkeyPatch) -> None:
    honest = bulk.action_bytes

    def action_bytes(write: Write, *, require_alias: bool) -> bytes:
        head, _, rest = honest(write, require_alias=require_alias).partition(b"\n")
        ((action, about),) = orjson.loads(head).items()
        del about["version"], about["version_type"]
        return orjson.dumps({action: about}) + b"\n" + rest

    patch.setattr(opensearch, "action_bytes", action_bytes)
    patch.setattr(Targets, "unverified", lambda self, indices: frozenset())


def versions_of_one_second(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Change, "version", property(lambda self: self.created_micros // 1_000_000))


def versions_from_the_sequence_number_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(change, "version_in_stream", lambda _minute, sequence: sequence // 10**20)


def versions_from_a_counter_in_memory(patch: pytest.MonkeyPatch) -> None:
    counter = itertools.count(1)
    patch.setattr(Change, "version", property(lambda self: next(counter)))


def archive_names_by_wall_clock(patch: pytest.MonkeyPatch) -> None:
    honest, clock = archive.object_name, itertools.count(1)

    def object_name(prefix: str, first: Change) -> str:
        label, _, digest = honest(prefix, first).rsplit("-", 2)
        return f"{label}-{next(clock):040d}-{digest}"

    patch.setattr(s3, "object_name", object_name)


def a_taken_name_is_overwritten(patch: pytest.MonkeyPatch) -> None:
    honest = s3.S3Archive._put_if

    def put_if(self: Any, key: str, table: str, segment: Segment, _condition: Any) -> bool:
        return honest(self, key, table, segment, {})

    patch.setattr(s3.S3Archive, "_put_if", put_if)


def copies_are_dropped_by_sequence_number_alone(patch: pytest.MonkeyPatch) -> None:
    honest = archive.ArchivedChange.of

    def of(line: bytes) -> archive.ArchivedChange:
        read = honest(line)
        return archive.ArchivedChange(f"{read.stream}/{read.sequence}", read.stream, read.sequence, line)

    def read_archive(*arguments: Any) -> Any:
        patch.setattr(archive.ArchivedChange, "of", of)
        found = [honest(one.line) for one in whole(*arguments)]
        patch.setattr(archive.ArchivedChange, "of", honest)
        return found

    whole = archive.read_archive
    patch.setattr("tests.simulation.checker.read_archive", read_archive)


def a_429_is_taken_as_applied(patch: pytest.MonkeyPatch) -> None:
    honest = bulk.verdict

    def verdict(item: Mapping[str, Any], alias: str | None = None) -> Outcome:
        ((_, answer),) = item.items()
        return Applied() if answer.get("status") == 429 else honest(item, alias)

    patch.setattr(opensearch, "verdict", verdict)


def a_missing_index_is_taken_as_deleted(patch: pytest.MonkeyPatch) -> None:
    honest = bulk.verdict

    def verdict(item: Mapping[str, Any], alias: str | None = None) -> Outcome:
        return Applied() if item.get("delete", {}).get("status") == 404 else honest(item, alias)

    patch.setattr(opensearch, "verdict", verdict)
    patch.setattr(opensearch.OpenSearchSink, "_vanished", lambda self, writes, deadline: frozenset())
    patch.setattr(opensearch.OpenSearchSink, "_answer", lambda self, item, write: opensearch._of(verdict(item), write))


def coalesce_by_position(patch: pytest.MonkeyPatch) -> None:
    honest = opensearch.coalesce

    def coalesce(writes: Sequence[Write], send: opensearch.Send) -> list[Outcome]:
        last = {(write.index, write.id): position for position, write in enumerate(writes)}
        kept = sorted(last.values())
        outcomes: list[Outcome] = [Superseded(explained=True)] * len(writes)
        for position, outcome in zip(kept, honest([writes[position] for position in kept], send), strict=True):
            outcomes[position] = outcome
        return outcomes

    patch.setattr(opensearch, "coalesce", coalesce)


def the_loser_of_a_rejected_winner_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    honest = opensearch.coalesce

    def coalesce(writes: Sequence[Write], send: opensearch.Send) -> list[Outcome]:
        rounds = itertools.count()

        def once(sent: Sequence[Write]) -> Sequence[Outcome]:
            return send(sent) if next(rounds) == 0 else [Superseded(explained=True)] * len(sent)

        return honest(writes, once)

    patch.setattr(opensearch, "coalesce", coalesce)


def a_child_goes_before_its_parent(patch: pytest.MonkeyPatch) -> None:
    def free(self: kcl.SimulatedKcl, lease: SimulatedLease, now: float) -> bool:
        return not lease.ended and lease.expired(now, self._failover)

    def poll(self: batches.Batches) -> list[Any]:
        honest_poll(self)
        for reader in self._readers.values():
            reader.poll()
        return list(self._readers.values())

    honest_poll = batches.Batches.poll
    patch.setattr(kcl.SimulatedKcl, "_free", free)
    patch.setattr(batches.Batches, "poll", poll)


def a_lost_lease_goes_unnoticed_while_deferred(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shard.ShardConsumer, "_wanted", lambda self: not self._running.stop.is_set())


def a_redrive_writes_the_letters_own_image(patch: pytest.MonkeyPatch) -> None:
    def write(self: present.WriteLatestState, changes: Sequence[Change], deadline: Deadline) -> Sequence[Outcome]:
        if all(one.raw_after is not None or one.operation is change.Operation.REMOVE for one in changes):
            return self.sink.write(changes, deadline)
        return honest(self, changes, deadline)

    honest = present.WriteLatestState.write
    patch.setattr(present.WriteLatestState, "write", write)


def a_redrive_does_not_look_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(present, "_same", lambda before, after: True)


def the_archive_leaves_images_out(patch: pytest.MonkeyPatch) -> None:
    honest = archive.archived_of

    def archived_of(one: Change, exclude: Any = ()) -> archive.ArchivedChange:
        archived = honest(one, exclude)
        line = orjson.loads(archived.line)
        line.get(archive.WITHOUT_NEW_IMAGE, line).pop("OldImage", None)
        return msgspec.structs.replace(archived, line=orjson.dumps(line))

    patch.setattr(s3, "archived_of", archived_of)


def good_changes_are_spilled_at_once(patch: pytest.MonkeyPatch) -> None:
    def limited(self: age_limit.AgeLimit, _change: Change, _identity: str, outcome: Deferred) -> Outcome:
        return Rejected(Cause(f"{age_limit.DEFERRED_TOO_LONG}: {outcome.cause}"))

    patch.setattr(age_limit.AgeLimit, "_limited", limited)


def letters_hold_the_keys_only(patch: pytest.MonkeyPatch) -> None:
    honest = letter.letter_of

    def letter_of(record: Record, rejected: Rejected, *others: Any) -> Any:
        letter = honest(record, rejected, *others)
        facts = {**letter.record["dynamodb"], "NewImage": letter.record["dynamodb"]["Keys"]}
        return msgspec.structs.replace(letter, record={**letter.record, "dynamodb": facts})

    patch.setattr(dead_letters, "letter_of", letter_of)


BROKEN_RULES: tuple[Break, ...] = (
    acknowledge_before_flush,
    index_without_version,
    versions_of_one_second,
    versions_from_the_sequence_number_alone,
    versions_from_a_counter_in_memory,
    archive_names_by_wall_clock,
    a_taken_name_is_overwritten,
    copies_are_dropped_by_sequence_number_alone,
    a_429_is_taken_as_applied,
    a_missing_index_is_taken_as_deleted,
    coalesce_by_position,
    the_loser_of_a_rejected_winner_is_forgotten,
    a_child_goes_before_its_parent,
    a_lost_lease_goes_unnoticed_while_deferred,
    a_redrive_writes_the_letters_own_image,
    a_redrive_does_not_look_twice,
    the_archive_leaves_images_out,
    good_changes_are_spilled_at_once,
    letters_hold_the_keys_only,
    *BROKEN_RULES_OF_LOADS,
    *BROKEN_RULES_OF_REBUILDS,
)
