"""ExportTableToPointInTime: the objects that AWS writes, full and incremental."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import dynamodb

from local.engine.outbound import client_of

__all__ = ["write_exports"]

_LINES_OF_A_FILE = 10_000
_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class _Write:
    """One write to a table whose point-in-time recovery is on."""

    micros: int
    keys: str
    before: Any
    after: Any


_history: dict[tuple[str, str, str], list[_Write]] = {}


def write_exports() -> None:
    """Write data files, manifests and checksums ("DynamoDB table export output format", Amazon DynamoDB Developer
    Guide), of any time since point-in-time recovery was switched on; refuse where it is off.

    MiniStack tells that an export is done, and writes nothing. `ENGINE_EXPORT_SECONDS` (900, as at AWS) is the
    shortest window of an incremental export. Data files hold up to 10,000 lines.
    """
    set_item, remove_item, update = dynamodb._set_item, dynamodb._remove_item, dynamodb._update_continuous_backups

    def noting_set(table: Any, partition: Any, sort: Any, item: Any) -> Any:
        old = set_item(table, partition, sort, item)
        _note(table, old, item)
        return old

    def noting_remove(table: Any, partition: Any, sort: Any) -> Any:
        old = remove_item(table, partition, sort)
        if old is not None:
            _note(table, old, None)
        return old

    def update_continuous_backups(asked: Any) -> Any:
        answer = update(asked)
        name = dynamodb._normalize_table_name(asked.get("TableName"))
        if answer[0] == 200:
            if not dynamodb._pitr_settings.get(name):
                _history.pop(_place(name), None)
            else:
                _history.setdefault(_place(name), [])
        return answer

    dynamodb._set_item, dynamodb._remove_item = noting_set, noting_remove
    dynamodb._update_continuous_backups = update_continuous_backups
    dynamodb._export_table_to_point_in_time, dynamodb._describe_export = _export, _describe


def _place(table: str) -> tuple[str, str, str]:
    return get_account_id(), get_region(), table


def _note(table: Any, old: Any, new: Any) -> None:
    writes = _history.get(_place(table["TableName"]))
    if writes is not None:
        writes.append(_Write(time.time_ns() // 1000, json.dumps(_keys(table, new or old)), old, new))


def _keys(table: Any, item: Any) -> Any:
    return {name: item[name] for name in (table["pk_name"], table["sk_name"]) if name}


def _export(asked: Any) -> Any:
    name = dynamodb._table_name_from_arn(asked.get("TableArn") or "")
    table = dynamodb._tables.get(name) if name else None
    if table is None:
        return error_response_json("TableNotFoundException", f"Table not found: {asked.get('TableArn')}", 400)
    for export in dynamodb._exports.values():
        if asked.get("ClientToken") and export.get("ClientToken") == asked["ClientToken"]:
            return json_response({"ExportDescription": export})
    writes = _history.get(_place(name))
    if writes is None:
        message = "Point in time recovery is not enabled for table '" + name + "'"
        return error_response_json("PointInTimeRecoveryUnavailableException", message, 400)
    now = time.time()
    if refusal := _refusal(asked, now):
        return error_response_json("ValidationException", refusal, 400)
    export = {
        "ExportArn": dynamodb._export_arn(asked["TableArn"]),
        "ExportStatus": "IN_PROGRESS",
        "StartTime": now,
        "TableArn": asked["TableArn"],
        "TableId": table.get("TableId") or str(uuid4()),
        "S3SseAlgorithm": "AES256",
        "ExportFormat": "DYNAMODB_JSON",
        "ExportType": "FULL_EXPORT",
        **{name: asked[name] for name in _ECHOED if asked.get(name) is not None},
    }
    lines: Iterable[bytes]
    if export["ExportType"] == "FULL_EXPORT":
        export.setdefault("ExportTime", now)
        lines = _items(table, writes, int(float(export["ExportTime"]) * 1_000_000))
    else:
        window = dict(asked["IncrementalExportSpecification"])
        window.setdefault("ExportToTime", now)
        window.setdefault("ExportViewType", "NEW_AND_OLD_IMAGES")
        export["IncrementalExportSpecification"] = window
        lines = _changes(writes, window)
    dynamodb._exports[export["ExportArn"]] = export
    # the lines are made now: writes go on while the files are written
    made = (client_of("s3", get_region()), export, list(lines))
    threading.Thread(target=_write, args=made, daemon=True, name="export").start()
    return json_response({"ExportDescription": export})


_ECHOED = (
    *("S3Bucket", "S3Prefix", "S3BucketOwner", "S3SseAlgorithm", "S3SseKmsKeyId"),
    *("ExportFormat", "ExportType", "ExportTime", "ClientToken"),
)


def _refusal(asked: Any, now: float) -> str | None:
    if asked.get("ExportFormat", "DYNAMODB_JSON") != "DYNAMODB_JSON":
        return "this engine exports DYNAMODB_JSON only"
    if asked.get("ExportType", "FULL_EXPORT") == "FULL_EXPORT":
        return "ExportTime is in the future" if float(asked.get("ExportTime") or 0) > now else None
    window = asked.get("IncrementalExportSpecification") or {}
    if window.get("ExportFromTime") is None:
        return "IncrementalExportSpecification.ExportFromTime is required for an INCREMENTAL_EXPORT"
    seconds = float(window.get("ExportToTime") or now) - float(window["ExportFromTime"])
    if seconds < float(os.environ.get("ENGINE_EXPORT_SECONDS", "900")):
        return "Difference between ExportFromTime and ExportToTime is less than 15 minutes"
    return (
        "Difference between ExportFromTime and ExportToTime is greater than 24 hours"
        if seconds > _DAY_SECONDS
        else None
    )


def _items(table: Any, writes: list[_Write], micros: int) -> Iterator[bytes]:
    """The table as it was: as it is, with what was written since then undone."""
    undone = {write.keys: write.before for write in reversed(writes) if write.micros > micros}
    for held in table["items"].values():
        for item in held.values():
            if json.dumps(_keys(table, item)) not in undone:
                yield _line({"Item": item})
    for item in undone.values():
        if item is not None:
            yield _line({"Item": item})


def _changes(writes: list[_Write], window: Any) -> Iterator[bytes]:
    """The net change of each item within the window: its first state before it, its last within."""
    low, high = (float(window[name]) * 1_000_000 for name in ("ExportFromTime", "ExportToTime"))
    first: dict[str, Any] = {}
    last: dict[str, _Write] = {}
    for write in writes:
        if low <= write.micros < high:
            first.setdefault(write.keys, write.before)
            last[write.keys] = write
    for keys, write in last.items():
        line = {"Metadata": {"WriteTimestampMicros": {"N": str(write.micros)}}, "Keys": json.loads(keys)}
        if window["ExportViewType"] == "NEW_AND_OLD_IMAGES" and first[keys] is not None:
            line["OldImage"] = first[keys]
        if write.after is not None:
            line["NewImage"] = write.after
        yield _line(line)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write(s3: Any, export: Any, lines: list[bytes]) -> None:
    prefix = f"{export['S3Prefix'].strip('/')}/" if export.get("S3Prefix") else ""
    root = f"{prefix}AWSDynamoDB/{export['ExportArn'].rpartition('/')[2]}"
    full = export["ExportType"] == "FULL_EXPORT"
    data = f"{root}/data" if full else f"{prefix}AWSDynamoDB/data"

    def put(key: str, body: bytes) -> dict[str, str]:
        etag = s3.put_object(Bucket=export["S3Bucket"], Key=key, Body=body)["ETag"].strip('"')
        return {"md5Checksum": _md5(body), "etag": etag}

    try:
        put(f"{root}/_started", b"")
        files = []
        for start in range(0, max(len(lines), 1), _LINES_OF_A_FILE):
            part = lines[start : start + _LINES_OF_A_FILE]
            key = f"{data}/{uuid4().hex[:26]}.json.gz"
            stored = put(key, gzip.compress(b"".join(part), mtime=0))
            files.append(_line({"itemCount": len(part), **stored, "dataFileS3Key": key}))
        size = sum(map(len, lines))
        export.update(ItemCount=len(lines), BilledSizeBytes=size, EndTime=time.time())
        manifest = b"".join(files)
        summary = _summary(export, f"{root}/manifest-files.json")
        for name, body in (("manifest-files", manifest), ("manifest-summary", summary)):
            put(f"{root}/{name}.json", body)
            put(f"{root}/{name}.checksum", _md5(body).encode())
        export.update(ExportStatus="COMPLETED", ExportManifest=f"{root}/manifest-summary.json")
    except (ClientError, BotoCoreError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        export.update(ExportStatus="FAILED", FailureCode=f"S3{code}", FailureMessage=str(error), EndTime=time.time())


def _summary(export: Any, files_key: str) -> bytes:
    full = export["ExportType"] == "FULL_EXPORT"
    times: dict[str, Any] = {"exportTime": _text(export["ExportTime"])} if full else {}
    if not full:
        window = export["IncrementalExportSpecification"]
        times = {
            "exportFromTime": _text(window["ExportFromTime"]),
            "exportToTime": _text(window["ExportToTime"]),
        }
    facts = {
        "version": "2020-06-30" if full else "2023-08-01",
        "exportArn": export["ExportArn"],
        "startTime": _text(export["StartTime"]),
        "endTime": _text(export["EndTime"]),
        "tableArn": export["TableArn"],
        "tableId": export["TableId"],
        **times,
        "s3Bucket": export["S3Bucket"],
        "s3Prefix": export.get("S3Prefix"),
        "s3SseAlgorithm": export["S3SseAlgorithm"],
        "s3SseKmsKeyId": export.get("S3SseKmsKeyId"),
        "manifestFilesS3Key": files_key,
        "billedSizeBytes": export["BilledSizeBytes"],
        "itemCount": export["ItemCount"],
        "outputFormat": export["ExportFormat"],
    }
    if not full:
        view = export["IncrementalExportSpecification"]["ExportViewType"]
        facts |= {"outputView": view, "exportType": export["ExportType"]}
    return json.dumps(facts).encode()


def _text(seconds: Any) -> str:
    moment = datetime.fromtimestamp(float(seconds), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _describe(asked: Any) -> Any:
    export = dynamodb._exports.get(asked.get("ExportArn"))
    if export is None:
        return error_response_json("ExportNotFoundException", f"Export not found: {asked.get('ExportArn')}", 400)
    return json_response({"ExportDescription": export})
