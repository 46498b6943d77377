"""Export: a table as it was at one moment, which DynamoDB has written to S3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec

from cdc.errors import ConfigError
from cdc.loads.export_objects import ObjectAbsent, body_of, new_sum, sum_text
from cdc.loads.table import SourceTable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["Export", "ExportFile", "ExportFormat", "ExportType", "check_export", "read_export"]

_T = TypeVar("_T")
_SUMMARY = "manifest-summary"
_FILES = "manifest-files"
_SUMS = (".md5", ".checksum")
"""Ends of the sums' names: DynamoDB writes the first, its documentation tells the second."""
_LOCATION = re.compile(r"s3://([^/]+)/(.*?)/*")
_NEW_EXPORT = "Ask for a new export: cdc backfill --export-now, or aws dynamodb export-table-to-point-in-time."


class ExportType(StrEnum):
    """Kinds of export."""

    FULL = "FULL_EXPORT"
    INCREMENTAL = "INCREMENTAL_EXPORT"


class ExportFormat(StrEnum):
    """Formats of an export's data files."""

    DYNAMODB_JSON = "DYNAMODB_JSON"
    ION = "ION"


class ExportFile(msgspec.Struct, frozen=True):
    """A data file of an export."""

    key: str
    """Its name in the export's bucket."""
    item_count: int
    md5: str
    """The sum of the compressed file; base64 text."""
    etag: str


class Export(msgspec.Struct, frozen=True):
    """An export by its manifests."""

    location: str
    """The folder of the manifests: `s3://bucket/prefix/AWSDynamoDB/<id>`."""
    bucket: str
    table_arn: str
    table_id: str
    time: datetime
    """The moment that the table is shown at; the window's end for an incremental one."""
    type: ExportType
    format: ExportFormat
    item_count: int
    files: tuple[ExportFile, ...]
    """At least one a partition; files may be empty."""
    since: datetime | None = None
    """The window's beginning; None for a full one."""


class _Summary(msgspec.Struct, frozen=True, rename="camel"):
    table_arn: str
    table_id: str
    manifest_files_s3_key: str = msgspec.field(name="manifestFilesS3Key")
    item_count: int
    output_format: str
    export_type: str = ExportType.FULL
    export_time: datetime | None = None
    export_from_time: datetime | None = None
    export_to_time: datetime | None = None


class _File(msgspec.Struct, frozen=True, rename="camel"):
    item_count: int
    md5_checksum: str
    data_file_s3_key: str = msgspec.field(name="dataFileS3Key")
    etag: str = ""


def read_export(s3: S3Client, location: str) -> Export:
    """The export at `s3://bucket/prefix/AWSDynamoDB/<id>`, or at the name of its `manifest-summary.json`, once its
    manifests have proven whole by their sums and counts (Amazon DynamoDB Developer Guide, "DynamoDB table export
    output format"). It may have been copied to another bucket or prefix, if with all that lies below `AWSDynamoDB`.

    Raises:
        ConfigError: there is no finished export, it may not be read, or a manifest is broken: it names the object.
        SinkUnavailable: S3 is out of reach; ask again.
    """
    bucket, folder = _place_of(location)
    try:
        summary = _decoded(_checked(s3, bucket, f"{folder}/{_SUMMARY}"), _Summary, f"s3://{bucket}/{folder}/{_SUMMARY}")
    except ObjectAbsent as error:
        _refuse_absent(s3, bucket, folder, error)
    name = f"s3://{bucket}/{folder}/{_SUMMARY}.json"
    moment = summary.export_time or summary.export_to_time
    if moment is None:
        raise _broken(name, "exportTime is missing")
    files = _files(s3, bucket, folder, summary)
    counted = sum(file.item_count for file in files)
    if counted != summary.item_count:
        what = f"itemCount is {summary.item_count}, and the files of {_FILES}.json have {counted}"
        raise _broken(name, what)
    return Export(
        location=f"s3://{bucket}/{folder}",
        bucket=bucket,
        table_arn=summary.table_arn,
        table_id=summary.table_id,
        time=_in_utc(moment),
        type=_one_of(ExportType, summary.export_type, "exportType", name),
        format=_one_of(ExportFormat, summary.output_format, "outputFormat", name),
        item_count=summary.item_count,
        files=tuple(files),
        since=_in_utc(summary.export_from_time) if summary.export_from_time else None,
    )


def _place_of(location: str) -> tuple[str, str]:
    found = _LOCATION.fullmatch(location)
    folder = found[2].removesuffix(f"/{_SUMMARY}.json") if found else ""
    if found is None or not folder:
        raise ConfigError(
            f"{location!r} is not the location of an export",
            remedy=f"It looks like s3://bucket/prefix/AWSDynamoDB/<id>, the folder that holds {_SUMMARY}.json.",
        )
    return found[1], folder


def _refuse_absent(s3: S3Client, bucket: str, folder: str, error: ObjectAbsent) -> NoReturn:
    """Say whether the export goes on still, or was never there."""
    try:
        body_of(s3, bucket, f"{folder}/_started")
    except ObjectAbsent:
        raise ConfigError(
            f"s3://{bucket}/{folder} holds no export: {_SUMMARY}.json is not there",
            remedy="Give the folder s3://bucket/prefix/AWSDynamoDB/<id>; aws dynamodb list-exports prints the ids.",
        ) from error
    raise ConfigError(
        f"the export s3://{bucket}/{folder} is not finished: {_SUMMARY}.json is not there yet",
        remedy="Wait until aws dynamodb describe-export says COMPLETED; if it says FAILED, ask for a new one.",
    ) from error


def _checked(s3: S3Client, bucket: str, name: str) -> bytes:
    """A manifest that has the sum which lies beside it."""
    body = body_of(s3, bucket, f"{name}.json")
    digest = new_sum()
    digest.update(body)
    if _sum_beside(s3, bucket, name) != sum_text(digest):
        raise _broken(f"s3://{bucket}/{name}.json", f"it does not match its sum in {name.rpartition('/')[2]}.md5")
    return body


def _sum_beside(s3: S3Client, bucket: str, name: str) -> str:
    first, second = _SUMS
    try:
        return body_of(s3, bucket, name + first).decode("ascii", "replace").strip()
    except ConfigError as error:  # S3 refuses to say that an object is absent where the bucket may not be listed
        try:
            return body_of(s3, bucket, name + second).decode("ascii", "replace").strip()
        except ObjectAbsent:
            pass
        if not isinstance(error, ObjectAbsent):
            raise
        raise _broken(f"s3://{bucket}/{name}.json", f"its sum {name.rpartition('/')[2]}{first} is not there") from error


def _files(s3: S3Client, bucket: str, folder: str, summary: _Summary) -> Sequence[ExportFile]:
    manifest = _checked(s3, bucket, f"{folder}/{_FILES}")
    written_below = summary.manifest_files_s3_key.rpartition("/")[0].rpartition("/")[0]
    lies_below = folder.rpartition("/")[0]
    files = []
    for number, line in enumerate(manifest.splitlines(), 1):
        if line.strip():
            file = _decoded(line, _File, f"s3://{bucket}/{folder}/{_FILES}", f"line {number}: ")
            key = _moved(file.data_file_s3_key, written_below, lies_below)
            files.append(ExportFile(key, file.item_count, file.md5_checksum, file.etag))
    return files


def _moved(key: str, written_below: str, lies_below: str) -> str:
    """The key of a data file below the folder that the export was copied to."""
    if not key.startswith(f"{written_below}/"):
        return key
    return f"{lies_below}/{key.removeprefix(f'{written_below}/')}".lstrip("/")


def _decoded(body: bytes, kind: type[_T], name: str, line: str = "") -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _broken(f"{name}.json", f"{line}{error}") from error


def _one_of(kind: type[_T], text: str, field: str, name: str) -> _T:
    try:
        return kind(text)  # type: ignore[call-arg]
    except ValueError as error:
        known: Any = kind
        raise ConfigError(
            f"{name}: {field} is {text!r}, which is not known here",
            remedy=f"Ask for an export whose {field} is {' or '.join(known)}.",
        ) from error


def _broken(name: str, what: str) -> ConfigError:
    return ConfigError(f"{name} is broken: {what}", remedy=f"Copy it again, if it is a copy; otherwise: {_NEW_EXPORT}")


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_export(export: Export, table: SourceTable, *, not_before: datetime | None = None) -> None:
    """Check that a load may begin with this export: it shows all of this very table, and was taken once the stream was
    on. What was changed between an earlier export and the stream would be in neither.

    Args:
        not_before: the moment since which the table's changes are followed, with its time zone; by default the
            creation of the table's own stream. For Kinesis only the caller can know: without it nothing is checked.

    Raises:
        ConfigError: it may not, with the reason and what to do.
    """
    if export.table_arn != table.arn:
        raise ConfigError(
            f"{export.location} is an export of another table: of {export.table_arn}, not of {table.arn}",
            remedy=f"Give an export of {table.name}; aws dynamodb list-exports --table-arn {table.arn} prints them.",
        )
    if table.id and export.table_id != table.id:
        raise ConfigError(
            f"{export.location} is an export of an earlier table {table.name}: of {export.table_id}, not of {table.id}",
            remedy=f"The table was deleted and made anew since. {_NEW_EXPORT}",
        )
    if export.type is not ExportType.FULL:
        raise ConfigError(
            f"{export.location} is an incremental export: it lacks the items that were not changed in its window",
            remedy="Give a full export.",
        )
    began = not_before or _stream_began(table)
    if began is not None and export.time < began:
        raise ConfigError(
            f"{export.location} shows {table.name} at {_text(export.time)}, before its stream began at {_text(began)}: "
            "changes between the two are in neither",
            remedy=_NEW_EXPORT,
        )


def _stream_began(table: SourceTable) -> datetime | None:
    """The creation of the stream that is on, by its label; None where none is on."""
    if table.stream is None or table.stream.minute is None:
        return None
    return _in_utc(datetime.fromisoformat(table.stream.label))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
