"""Replay: what the archive holds of some time, written once more, each change at the version that it had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain

import msgspec

from cdc.archive import KINESIS_REACH
from cdc.deadline import Clock
from cdc.delivery.missing_image import ReadMissingImage
from cdc.errors import ConfigError
from cdc.loads.archived import changes_since, excluded_from_archive, reach_of
from cdc.loads.batches import BatchWriter, Replayed, ReplayStopped
from cdc.loads.deployment import ArchivePlace, Deployment
from cdc.loads.ghosts import close_by_archive
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import joined_path
from cdc.records.stream import Stream
from cdc.sinks import Sink

__all__ = [
    "ReplayStopped",
    "ReplaySummary",
    "Replayed",
    "check_whole",
    "place_of",
    "replay_to_functions",
    "replay_to_index",
]

INDEX, FUNCTIONS = "index", "functions"

Observe = Callable[[Mapping[str, Replayed]], None]


class ReplaySummary(msgspec.Struct, frozen=True):
    """The end of a replay."""

    table: str
    since: datetime
    until: datetime | None
    sinks: dict[str, Replayed]
    """The fate of the changes in each sink: `index`, `functions`."""
    removals: Replayed | None = None
    """The removals that were made or archived later, and were applied to the index once more."""

    @property
    def dead_letters(self) -> int:
        """How many changes were rejected, and are kept as dead letters."""
        return sum(replayed.dead_letters for replayed in (*self.sinks.values(), *filter(None, [self.removals])))


def place_of(deployment: Deployment) -> ArchivePlace:
    """The deployment's archive.

    Raises:
        ConfigError: it has none.
    """
    if deployment.archive is None:
        raise ConfigError("there is no archive to replay", remedy="Set CDC_ARCHIVE_BUCKET.")
    return deployment.archive


def replay_to_functions(
    place: ArchivePlace,
    table: str,
    since: datetime,
    until: datetime | None,
    functions: Sink,
    *,
    clock: Clock,
    sleep: Callable[[float], None],
    reach: timedelta = KINESIS_REACH,
    wanted: Callable[[], bool] = lambda: True,
    observe: Observe = lambda _so_far: None,
) -> ReplaySummary:
    """Give the archived changes to functions, marked as redriven: images lack what the archive leaves out.

    Raises:
        ReplayStopped: it is not wanted any more.
        SinkUnavailable: the archive can't be read.
    """
    writer = BatchWriter({FUNCTIONS: functions}, clock, sleep, wanted, observe)
    done = writer.write(changes_since(place, table, since, until, reach=reach))
    return ReplaySummary(table, since, until, dict(done))


def replay_to_index(
    deployment: Deployment,
    table: str,
    since: datetime,
    until: datetime | None = None,
    *,
    index: str | None = None,
    functions: Sink | None = None,
    stream: Stream | None = None,
    wanted: Callable[[], bool] = lambda: True,
    observe: Observe = lambda _so_far: None,
) -> ReplaySummary:
    """Write the archived changes to the table's indices; what these hold of newer ones stays.

    OpenSearch forgets deletes, so an old change might bring an item back that was deleted later. So what removes
    documents is applied once more at the end: what was made at `until` or later, and what came into the archive while
    it was read. A delete that was not archived by then can't be seen here.

    Args:
        index: only this one of the mapping.
        functions: a sink that gets the same changes, behind the index.
        stream: where the table's changes come from; default: the stream that is on, else that of the first change.

    Raises:
        ConfigError: there is no archive, no table, or no such index; or a document needs what the archive leaves out.
        ReplayStopped: it is not wanted any more.
        SinkMisconfigured: an index can't be written to.
        SinkUnavailable: the archive can't be read.
    """
    place = place_of(deployment)
    began = datetime.fromtimestamp(deployment.now(), UTC)
    source = deployment.pages.describe(table)
    known = stream or source.stream
    changes = changes_since(place, table, since, until, reach=reach_of(known))
    if known is None:  # a table without a stream: the archive tells whence its changes came
        first = next(changes, None)
        if first is None:
            return ReplaySummary(table, since, until, {INDEX: Replayed()})
        known, changes = first.stream, chain([first], changes)
    compiled = only_index(deployment.prepare(known, source.keys), index)
    check_whole(compiled)
    sinks = {INDEX: deployment.load_sink(ReadMissingImage(deployment.index(lambda _: compiled), deployment.items))}
    if functions is not None:
        sinks[FUNCTIONS] = deployment.load_sink(functions)
    try:
        done = BatchWriter(sinks, deployment.clock, deployment.sleep, wanted, observe).write(changes)
    finally:
        for sink in sinks.values():
            sink.close()
    removals = _removals(deployment, place, compiled, known, (since, until, began), wanted)
    return ReplaySummary(table, since, until, dict(done), removals)


def _removals(
    deployment: Deployment,
    place: ArchivePlace,
    compiled: CompiledMapping,
    stream: Stream,
    times: tuple[datetime, datetime | None, datetime],
    wanted: Callable[[], bool],
) -> Replayed:
    """Apply what removes documents, and was not among the changes or might not have been."""
    since, until, began = times
    found = Replayed()
    if until is not None:
        found = close_by_archive(deployment, place, compiled, until, stream=stream, wanted=wanted)
    late = close_by_archive(deployment, place, compiled, since, stream=stream, written_since=began, wanted=wanted)
    return found.plus(late)


def only_index(compiled: CompiledMapping, index: str | None) -> CompiledMapping:
    """The mapping, for one index alone if one is named.

    Raises:
        ConfigError: no document goes to it, or to any.
    """
    if index is not None:
        compiled = replace(compiled, owners=tuple(owner for owner in compiled.owners if owner.index == index))
    if not compiled.bodies:
        named = "an index" if index is None else f"the index {index}"
        raise ConfigError(
            f"{compiled.mapping.source} names no document of {compiled.table} for {named}: nothing would be written",
            remedy="Check --index and the mapping's `documents`.",
        )
    return compiled


def check_whole(compiled: CompiledMapping) -> None:
    """Refuse a mapping whose documents can't be made of archived changes.

    Only what the archive leaves out by the mapping of today is known: that it left out more before shows nowhere.

    Raises:
        ConfigError: `where` or the fields of a document need what the archive leaves out.
    """
    for position, owner in enumerate(compiled.owners):
        for path in excluded_from_archive(compiled):
            shown = joined_path(tuple(path))
            if path[0] in owner.pattern.attributes:
                why = f"`where` of the document of {owner.index} (documents[{position}]) reads it"
            elif _needs(path, owner.include, owner.exclude):
                why = f"the document of {owner.index} (documents[{position}]) would be written without it"
            else:
                continue
            raise ConfigError(
                f"{compiled.mapping.source}: archive.exclude leaves out {shown!r}, and {why}",
                remedy=f"Fill the index from the table instead: cdc backfill --table {compiled.table}.",
            )


def _needs(path: Sequence[str], include: Sequence[Sequence[str]] | None, exclude: Sequence[Sequence[str]]) -> bool:
    if any(_begins(path, left_out) for left_out in exclude):
        return False
    return include is None or any(_begins(path, taken) or _begins(taken, path) for taken in include)


def _begins(path: Sequence[str], beginning: Sequence[str]) -> bool:
    return tuple(path[: len(beginning)]) == tuple(beginning)
