"""The archive: what its objects are named, what their lines hold, and how they are read back, each change once.

A line has the format of DynamoDB's incremental export (Amazon DynamoDB Developer Guide, "DynamoDB table export output
format"): `Metadata`, `Keys`, `OldImage`, `NewImage` in DynamoDB JSON. Ours are every change, not the net one of a
window, and `Metadata` holds our own facts too. A line without `NewImage` is a delete there. So an INSERT or a MODIFY of
a view without new images has its keys below `WithoutNewImage`, where no reader of the export's format looks for them.
"""

from __future__ import annotations

import gzip
import heapq
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from cdc.core import excluding
from cdc.errors import MalformedRecord
from cdc.mappings.fields import without
from cdc.records.change import Change, Operation, raw_differences
from cdc.records.sequence import DYNAMODB_DIGITS, KINESIS_DIGITS

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = [
    "DYNAMODB_REACH",
    "KINESIS_REACH",
    "ArchivedChange",
    "Segment",
    "archived_of",
    "line_of",
    "object_name",
    "read_archive",
    "read_lines",
    "unite",
]

SUFFIX = ".ndjson.gz"
WITHOUT_NEW_IMAGE = "WithoutNewImage"
"""Below it stand `Keys` and `OldImage` of an INSERT or a MODIFY whose stream's view leaves the new image out."""
DYNAMODB_REACH = timedelta(hours=25)
"""The time that a DynamoDB stream keeps its records, and an hour (Amazon DynamoDB Developer Guide, "Change data capture
for DynamoDB Streams": 24 hours)."""
KINESIS_REACH = timedelta(days=366)
"""The time that a Kinesis stream may keep its records, and a day (Amazon Kinesis Data Streams Developer Guide,
"Changing the data retention period": 8,760 hours at most)."""
_CLOCKS_DIFFER = timedelta(minutes=15)
"""How far S3's clock may be behind that of the changes."""
_PARTITION = "date=%Y-%m-%d/hour=%H"
_UNKNOWN = "date=unknown"
_DAY = "date=2026-01-15"
"""The first part of a partition's name is as long as this."""
_REMEMBERED = 1_000_000
_GZIP = 31
"""The window of zlib, and with it a gzip header that names no time."""
_LINES_AT_ONCE = 200
"""So many are joined to be compressed: a large object is never in memory twice."""
FORMAT = 2
"""The version of names and lines, kept in each object's metadata."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The contents of an object: lines by identity, in the order of their sequence numbers."""

    lines: Mapping[str, bytes]

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> Segment:
        """The segment of these lines."""
        return cls.of_changes(map(ArchivedChange.of, lines))

    @classmethod
    def of_changes(cls, changes: Iterable[ArchivedChange]) -> Segment:
        """The segment of these changes: each identity once, of a Kinesis duplicate the earlier copy."""
        kept: dict[str, bytes] = {}
        for archived in sorted(changes, key=lambda one: one.order):
            kept.setdefault(archived.identity, archived.line)
        return cls(kept)

    @property
    def digest(self) -> str:
        """A digest of the identities: equal for equal sets of changes."""
        return sha256("\n".join(sorted(self.lines)).encode()).hexdigest()

    @property
    def body(self) -> bytes:
        """The lines, gzipped; equal segments have equal bytes, by one library."""
        compressor, lines = _compressor(), iter(self.lines.values())
        parts = []
        while some := list(islice(lines, _LINES_AT_ONCE)):
            parts += [compressor.compress(b"\n".join(some)), compressor.compress(b"\n")]
        return b"".join([*parts, compressor.flush()])

    def metadata(self, table: str) -> dict[str, str]:
        """The object's metadata: format, count, digest, table, first and last sequence number."""
        archived = [ArchivedChange.of(line) for line in (self._at(0), self._at(-1))]
        return {
            "format": str(FORMAT),
            "count": str(len(self.lines)),
            "digest": self.digest,
            "table": table,
            "first": archived[0].sequence,
            "last": archived[1].sequence,
        }

    def _at(self, position: int) -> bytes:
        return list(self.lines.values())[position]


def _compressor() -> Any:
    """ISA-L's where it is installed: more than ten times quicker, for a fifth more bytes (`docs/performance.md`)."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(6, wbits=_GZIP)
    return isal_zlib.compressobj(2, wbits=_GZIP)


def unite(ours: Segment, theirs: Segment) -> Segment:
    """All changes of both, each once."""
    return Segment.of([*theirs.lines.values(), *ours.lines.values()])


class ArchivedChange(msgspec.Struct, frozen=True, order=True):
    """A line read back. `line` is its JSON; `document` parses it."""

    identity: str
    stream: str
    sequence: str
    line: bytes

    @classmethod
    def of(cls, line: bytes) -> ArchivedChange:
        """Read a line.

        Raises:
            MalformedRecord: it is no line of an archive.
        """
        try:
            about = orjson.loads(line)["Metadata"]
            return cls(about["Identity"]["S"], about["Stream"]["S"], about["SequenceNumber"]["S"], line)
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise MalformedRecord("this is no line of an archive: it lacks Metadata with Identity") from error

    @property
    def order(self) -> tuple[str, int, str]:
        """Changes of a stream by sequence number."""
        return self.stream, int(self.sequence), self.identity

    @property
    def document(self) -> dict[str, Any]:
        """The parsed line."""
        return orjson.loads(self.line)  # type: ignore[no-any-return]  # `of` has seen an object

    @property
    def images(self) -> dict[str, Any]:
        """`Keys`, and of `OldImage` and `NewImage` what the record had, in DynamoDB JSON."""
        document = self.document
        seen = document.get(WITHOUT_NEW_IMAGE, document)
        return {name: seen[name] for name in ("Keys", "OldImage", "NewImage") if name in seen}


def archived_of(change: Change, exclude: tuple[tuple[str, ...], ...] = ()) -> ArchivedChange:
    """The change as the archive keeps it."""
    stream, core = change.stream, change.core
    if core is not None:
        label = None if stream.minute is None else stream.label
        sequence = change.sequence.text
        made = core.line(stream.table, stream.arn, label, sequence, stream.minute, excluding(exclude))
        if made is not None:
            line, identity = made
            return ArchivedChange(identity, stream.arn, sequence, line)
    return ArchivedChange(str(change.identity), stream.arn, change.sequence.text, line_of(change, exclude))


def line_of(change: Change, exclude: Sequence[tuple[str, ...]] = ()) -> bytes:
    """The archive's line of a change, without a newline."""
    about: dict[str, Any] = {}
    if change.created_micros is not None:
        about["WriteTimestampMicros"] = {"N": str(change.created_micros)}
    about |= {
        "Operation": {"S": change.operation.value},
        "View": {"S": change.view.value},
        "Table": {"S": change.table},
        "Stream": {"S": change.stream.arn},
        "SequenceNumber": {"S": change.sequence.text},
        "Identity": {"S": str(change.identity)},
        "Version": {"N": str(change.version)},
        "EventId": {"S": change.event_id},
        "Expired": {"BOOL": change.expired},
    }
    before = None if change.raw_before is None else without(change.raw_before, exclude)
    after = None if change.raw_after is None else without(change.raw_after, exclude)
    if change.operation is Operation.MODIFY and before is not None and after is not None:
        about["ChangedAttributes"] = {"L": [{"S": name} for name in _changed(before, after)]}
    seen: dict[str, Any] = {"Keys": change.raw_keys}
    if before is not None:
        seen["OldImage"] = before
    if after is not None:
        seen["NewImage"] = after
    if after is None and change.operation is not Operation.REMOVE:
        seen = {WITHOUT_NEW_IMAGE: seen}  # in the export's format, keys without a new image are a delete
    return orjson.dumps({"Metadata": about, **seen}, default=_plain)


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The top-level attributes that differ; by their raw text where one can't be read: the archive keeps it anyway."""
    differing = [name for name, old in before.items() if name not in after or after[name] != old]
    differing += [name for name in after if name not in before]
    return sorted(name for name in differing if _differs(name, before, after))


def _differs(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    old, new = ({name: image[name]} if name in image else {} for image in (before, after))
    try:
        return bool(raw_differences(old, new))
    except MalformedRecord:
        return True


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(type(value).__name__)


def object_name(prefix: str, change: Change) -> str:
    """The name of the object whose first record is `change`: the same whenever and by whomever it is written.

    `<prefix>/table=<table>/date=<day>/hour=<hour>/<stream>-<sequence>-<digest>.ndjson.gz`, in Hive partitions of the
    record's own time (`unknown` where it does not say); a stream's names sort by sequence number.
    """
    created = change.created_at
    day, hour = (f"{created:%Y-%m-%d}", f"{created:%H}") if created else ("unknown", "unknown")
    digits = KINESIS_DIGITS if change.stream.minute is None else DYNAMODB_DIGITS
    label = "".join(letter for letter in change.stream.label if letter.isalnum() or letter in "._")
    return (
        f"{prefix}/table={change.table}/date={day}/hour={hour}/"
        f"{label}-{change.sequence.value:0{digits}d}-{change.identity.digest[:8]}{SUFFIX}"
    )


def read_lines(body: bytes) -> list[bytes]:
    """The lines of an object."""
    return [line for line in gzip.decompress(body).split(b"\n") if line]


def read_archive(
    client: S3Client,
    bucket: str,
    prefix: str,
    table: str | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    reach: timedelta = KINESIS_REACH,
    at_once: int = 1,
) -> Iterator[ArchivedChange]:
    """Each archived change once, by table, stream and sequence number, whatever copies the objects hold.

    What is held is the overlap of neighbouring objects, and the identities of the last million Kinesis records, whose
    copies have sequence numbers of their own and follow within minutes.

    With `since` or `until` only those objects are read that may hold changes made since then, or before; they hold
    others too. An object is named by the hour of its first record. Its others were in the stream together with that
    one, so they are younger by no more than the stream keeps its records (`reach`); and an object that was last written
    before `since` holds nothing that was made later. Objects whose first record has no time are always looked at.

    Args:
        since: a time; it leaves out older objects of one `table` only.
        until: a time; the same.
        reach: how long the stream keeps its records: `DYNAMODB_REACH` or `KINESIS_REACH`.
        at_once: so many objects are fetched at the same time.

    Raises:
        MalformedRecord: an object holds a line that is none of ours.
    """
    window = _Window(since, until, reach)
    for _, keys in groupby(sorted(_keys(client, bucket, prefix, table, window)), key=lambda entry: entry[:2]):
        yield from _each_once(client, bucket, list(keys), at_once)


@dataclass(frozen=True, slots=True)
class _Window:
    """The objects that may hold changes of some time."""

    since: datetime | None
    until: datetime | None
    reach: timedelta

    @property
    def first(self) -> str:
        """The partition of the first such object; empty: every."""
        return "" if self.since is None else f"{self.since.astimezone(UTC) - self.reach:{_PARTITION}}"

    @property
    def last(self) -> str:
        """The partition of the last one. Kinesis may deliver a change late, behind younger ones: so there is a margin
        here too."""
        return "" if self.until is None else f"{self.until.astimezone(UTC) + DYNAMODB_REACH:{_PARTITION}}"

    def takes(self, entry: Mapping[str, Any]) -> bool:
        return self.since is None or entry["LastModified"] >= self.since - _CLOCKS_DIFFER


def _keys(
    client: S3Client, bucket: str, prefix: str, table: str | None, window: _Window
) -> Iterator[tuple[str, str, int, str]]:
    """Table, stream, first sequence number and key of every object that is wanted."""
    under = f"{prefix}/table={table}/" if table else f"{prefix}/table="
    for entry in _entries(client, bucket, under, window if table else _Window(None, None, window.reach)):
        key = entry["Key"]
        if not key.endswith(SUFFIX) or not window.takes(entry):
            continue
        match key.rsplit("/", 1)[1].rsplit("-", 2):
            case [label, sequence, _] if sequence.isdecimal():
                yield key[len(prefix) :].split("/")[1], label, int(sequence), key
            case _:
                raise MalformedRecord(f"s3://{bucket}/{key} is no object of an archive: move it away")


def _entries(client: S3Client, bucket: str, under: str, window: _Window) -> Iterator[Mapping[str, Any]]:
    """The objects of the window's partitions, and those of `date=unknown`.

    Days are listed first, and not told from keys by StartAfter: LocalStack compares that with encoded keys.
    """
    pages = client.get_paginator("list_objects_v2")
    days = [under]
    if window.first or window.last:
        first, last = window.first[: len(_DAY)], window.last[: len(_DAY)] or _UNKNOWN
        listed = (
            one["Prefix"]
            for page in pages.paginate(Bucket=bucket, Prefix=under, Delimiter="/")
            for one in page.get("CommonPrefixes", ())
        )
        named = ((day, day[len(under) : -1]) for day in listed)
        days = [day for day, name in named if name == _UNKNOWN or first <= name <= last]
    for day in days:
        for page in pages.paginate(Bucket=bucket, Prefix=day):
            for entry in page.get("Contents", ()):
                partition = entry["Key"][len(under) :].rsplit("/", 1)[0]
                if partition > _UNKNOWN or not window.last or partition <= window.last:
                    yield entry


def _bodies(client: S3Client, bucket: str, keys: Sequence[str], at_once: int) -> Iterator[bytes]:
    """The objects in their order; while one is used the next are fetched."""

    def fetched(key: str) -> bytes:
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()

    if at_once < 2 or len(keys) < 2:
        yield from map(fetched, keys)
        return
    left = iter(keys)
    with ThreadPoolExecutor(at_once, thread_name_prefix="archive") as threads:
        ahead = deque(threads.submit(fetched, key) for key in islice(left, at_once))
        while ahead:
            body = ahead.popleft().result()
            ahead.extend(threads.submit(fetched, key) for key in islice(left, 1))
            yield body


def _each_once(
    client: S3Client, bucket: str, keys: Sequence[tuple[str, str, int, str]], at_once: int
) -> Iterator[ArchivedChange]:
    pending: list[tuple[tuple[int, str], bytes, ArchivedChange]] = []
    last: tuple[int, str] | None = None
    seen: dict[str, None] = {}  # of Kinesis records only: their copies have sequence numbers of their own
    for position, body in enumerate(_bodies(client, bucket, [key for _, _, _, key in keys], at_once)):
        for line in read_lines(body):
            archived = ArchivedChange.of(line)
            heapq.heappush(pending, ((int(archived.sequence), archived.identity), line, archived))
        following = keys[position + 1][2] if position + 1 < len(keys) else None
        while pending and (following is None or pending[0][0][0] < following):
            order, _, archived = heapq.heappop(pending)
            if order == last or archived.identity in seen:  # other copies stand side by side in the heap's order
                continue
            last = order
            if len(archived.sequence) > DYNAMODB_DIGITS:
                seen[archived.identity] = None
                if len(seen) > _REMEMBERED:
                    del seen[next(iter(seen))]
            yield archived
