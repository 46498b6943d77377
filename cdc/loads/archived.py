"""Archived changes: lines of the archive as the changes that they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from cdc.archive import DYNAMODB_REACH, KINESIS_REACH, ArchivedChange, read_archive
from cdc.aws_errors import translated
from cdc.errors import MalformedRecord
from cdc.loads.deployment import ArchivePlace
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import ArchiveRule, split_path
from cdc.records.change import Change, Operation, ParsedImages, StreamView, Wire
from cdc.records.sequence import KINESIS_DIGITS, SequenceNumber
from cdc.records.stream import Stream

__all__ = ["as_key_only", "change_of_line", "changes_since", "excluded_from_archive", "reach_of"]

_SECOND = 1_000_000


def reach_of(stream: Stream | None) -> timedelta:
    """How much younger than the first record of an object its others may be; of an unknown stream: the longest."""
    return KINESIS_REACH if stream is None or stream.minute is None else DYNAMODB_REACH


def changes_since(
    place: ArchivePlace,
    table: str,
    since: datetime,
    until: datetime | None = None,
    *,
    reach: timedelta = KINESIS_REACH,
    written_since: datetime | None = None,
) -> Iterator[Change]:
    """The table's archived changes since a time, and before another, each once, those of each item in their order.

    A change whose record has no time is among them. DynamoDB Streams tell whole seconds: one that was made up to a
    second before `since` may be among them too.

    Args:
        reach: how long the table's stream keeps its records; see `read_archive`.
        written_since: only of objects that were written since then, and a quarter of an hour before.

    Raises:
        MalformedRecord: the archive holds what is none of it.
        SinkUnavailable: the archive can't be read.
    """
    first, last = _micros(since) - _SECOND, None if until is None else _micros(until)
    # objects that were written late may have any name: they are told by the time that they were written
    reach = reach if written_since is None else max(reach, reach + (written_since - since))
    archive = read_archive(
        place.client,
        place.bucket,
        place.prefix,
        table,
        since=since if written_since is None else max(since, written_since),
        until=until,
        reach=reach,
        at_once=place.at_once,
    )
    remedy = "Check CDC_ARCHIVE_BUCKET and AWS_REGION, and allow s3:ListBucket and s3:GetObject."
    with translated("archive", f"s3://{place.bucket}/{place.prefix} can't be read", remedy):
        for archived in archive:
            change = change_of_line(archived)
            made = change.created_micros
            if made is None or (made > first and (last is None or made < last)):
                yield change


def change_of_line(archived: ArchivedChange) -> Change:
    """The change that a line was made of, at the version that it had, marked as redriven. Its images lack what the
    archive leaves out, but for key attributes.

    Raises:
        MalformedRecord: the line is no whole change.
    """
    document = archived.document
    about, images = document["Metadata"], archived.images
    try:
        keys, table = images["Keys"], about["Table"]["S"]
        kinesis = ":kinesis:" in archived.stream
        stream = Stream.kinesis(archived.stream, table) if kinesis else Stream.dynamodb(archived.stream)
        created = int(about["WriteTimestampMicros"]["N"]) if "WriteTimestampMicros" in about else None
        sequence = SequenceNumber.parse(archived.sequence, KINESIS_DIGITS)
        expired = bool(about["Expired"]["BOOL"])
        coarse = kinesis and "-" in archived.identity.split("/")[-2]
        before, after = _with_keys(images.get("OldImage"), keys), _with_keys(images.get("NewImage"), keys)
        record = _record(about, {"Keys": keys, "OldImage": before, "NewImage": after}, sequence, stream, coarse)
        return Change(
            operation=Operation(about["Operation"]["S"]),
            stream=stream,
            sequence=sequence,
            view=StreamView(about["View"]["S"]),
            images=ParsedImages(keys, before, after, record),
            created_micros=created,
            expired=expired,
            event_id=about["EventId"]["S"],
            is_coarse=coarse,
            wire=Wire.KINESIS if kinesis else Wire.LAMBDA,
            redriven=True,
            pinned_version=int(about["Version"]["N"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedRecord(f"a line of the archive can't be read as a change: {archived.identity}") from error


def _with_keys(image: Mapping[str, Any] | None, keys: Mapping[str, Any]) -> dict[str, Any] | None:
    if image is None or keys.keys() <= image.keys():
        return None if image is None else dict(image)
    return {**keys, **image}


def _record(
    about: Mapping[str, Any], images: Mapping[str, Any], sequence: SequenceNumber, stream: Stream, coarse: bool
) -> dict[str, Any]:
    """The record as the stream has delivered it, for a dead letter: it can be read again."""
    facts: dict[str, Any] = {name: image for name, image in images.items() if image is not None}
    record: dict[str, Any] = {"eventID": about["EventId"]["S"], "eventName": about["Operation"]["S"], "dynamodb": facts}
    if about["Expired"]["BOOL"]:
        record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    micros = int(about["WriteTimestampMicros"]["N"]) if "WriteTimestampMicros" in about else None
    if stream.minute is None:
        unit = 1000 if coarse else 1
        facts["ApproximateCreationDateTimePrecision"] = "MILLISECOND" if coarse else "MICROSECOND"
        record["tableName"] = stream.table
    else:
        unit = _SECOND
        facts |= {"SequenceNumber": sequence.text, "StreamViewType": about["View"]["S"]}
        record |= {"eventSource": "aws:dynamodb", "eventSourceARN": stream.arn}
    if micros is not None:
        facts["ApproximateCreationDateTime"] = micros // unit if micros % unit == 0 else micros / unit
    return record


def excluded_from_archive(compiled: CompiledMapping) -> Sequence[tuple[str, ...]]:
    """The paths that archived lines lack by the mapping of today, those of key attributes left out: a line has its
    keys."""
    rule = compiled.mapping.archive
    paths = tuple(map(split_path, rule.exclude)) if isinstance(rule, ArchiveRule) else ()
    return [path for path in paths if path[0] not in compiled.keys]


def as_key_only(change: Change) -> Change:
    """The change as a stream of keys would tell it: its item is read from the table."""
    images = ParsedImages(change.raw_keys, None, None, change.record)
    return replace(change, view=StreamView.KEYS_ONLY, images=images)


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * _SECOND)
