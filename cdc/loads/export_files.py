"""Items of an export's data files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

import orjson

from cdc.errors import ConfigError, MalformedRecord
from cdc.loads.export import Export, ExportFile, ExportFormat, ExportType
from cdc.loads.export_objects import new_sum, opened, sum_text
from cdc.loads.ion import ion_values, item_of_ion
from cdc.records.attributes import RawItem

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["items_of_file"]

_CHUNK_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024


def items_of_file(s3: S3Client, export: Export, file: ExportFile) -> Iterator[RawItem]:
    """The items of a data file of a full export, as DynamoDB JSON with base64 text for binary, in the file's order.

    The first item is given once the sum of the whole file has proven right, the last one once their count has. For that
    the compressed file is copied to a temporary one (to memory up to 8 MB): it may have several hundred MB, and several
    are read at the same time.

    Raises:
        ConfigError: the file is absent, may not be read, is not the one of the manifest, or holds what no export holds;
            the export is incremental; the temporary folder has no room; amazon.ion is needed and not installed.
        SinkUnavailable: S3 is out of reach; begin the file again.
    """
    where = f"s3://{export.bucket}/{file.key}"
    if export.type is not ExportType.FULL:
        raise ConfigError(f"{export.location} is an incremental export", remedy="Give a full export.")
    with SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
        _copy(s3, export, file, copy)
        copy.seek(0)
        with gzip.GzipFile(fileobj=copy, mode="rb") as data:
            yield from _counted(_READERS[export.format](data), file.item_count, where)


def _copy(s3: S3Client, export: Export, file: ExportFile, copy: IO[bytes]) -> None:
    where = f"s3://{export.bucket}/{file.key}"
    digest = new_sum()
    with opened(s3, export.bucket, file.key) as body:
        while chunk := body.read(_CHUNK_BYTES):
            digest.update(chunk)
            try:
                copy.write(chunk)
            except OSError as error:
                raise ConfigError(
                    f"{where} can't be copied to the temporary folder: {error.strerror}",
                    remedy="Make room there, or set TMPDIR to a folder that has some, or lower --workers.",
                ) from error
    if sum_text(digest) != file.md5:
        raise _unlike(where, "does not match its sum md5Checksum in manifest-files.json")


def _counted(items: Iterator[RawItem], wanted: int, where: str) -> Iterator[RawItem]:
    """Each item once the next one is read, so that the last one is given after the count is known."""
    count = 0
    held: RawItem | None = None
    try:
        for item in items:
            count += 1
            if count > wanted:
                raise _unlike(where, f"has more items than its itemCount in manifest-files.json says: {wanted}")
            if held is not None:
                yield held
            held = item
    except (OSError, EOFError, zlib.error) as error:
        raise _unlike(where, f"can't be decompressed behind item {count}: {type(error).__name__}") from error
    except MalformedRecord as error:
        raise _unlike(where, f"holds no item of an export behind item {count}: {error.message}") from error
    if count != wanted:
        raise _unlike(where, f"has {count} items, and its itemCount in manifest-files.json says {wanted}")
    if held is not None:
        yield held


def _unlike(where: str, what: str) -> ConfigError:
    return ConfigError(f"{where} {what}", remedy="Copy it again, if it is a copy; otherwise ask for a new export.")


def _json_items(data: IO[bytes]) -> Iterator[RawItem]:
    for line in data:
        try:
            read = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise MalformedRecord("a line that is no JSON") from None
        yield _item(read, dict)


def _ion_items(data: IO[bytes]) -> Iterator[RawItem]:
    for value in ion_values(data):
        yield item_of_ion(_item(value, Mapping))


def _item(read: Any, kind: type[Any]) -> Any:
    item = read.get("Item") if isinstance(read, kind) else None
    if not isinstance(item, kind):
        raise MalformedRecord("an entry without Item")
    return item


_READERS: Mapping[ExportFormat, Callable[[Any], Iterator[RawItem]]] = {
    ExportFormat.DYNAMODB_JSON: _json_items,
    ExportFormat.ION: _ion_items,
}
