"""Asking DynamoDB for an export, and waiting for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import tenacity

from cdc.aws_errors import code_of, translated
from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.export import ExportFormat
from cdc.loads.table import SourceTable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

__all__ = ["ExportAwaited", "request_export"]

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 30.0
_TRIES = 6
"""How often in a row DynamoDB may be out of reach while an export is awaited."""
_FAILED_BEFORE = 8
"""How many failed exports of the same job are passed over."""


@dataclass(frozen=True, slots=True)
class ExportAwaited:
    """An export that was asked for has this status."""

    table: str
    arn: str
    status: str
    """`IN_PROGRESS`, `COMPLETED` or `FAILED`."""


def request_export(
    dynamodb: DynamoDBClient,
    table: SourceTable,
    bucket: str,
    prefix: str,
    *,
    job: str,
    format: ExportFormat = ExportFormat.DYNAMODB_JSON,  # noqa: A002  (the word that the manifest has)
    sleep: Callable[[float], None] = time.sleep,
    observe: Callable[[ExportAwaited], None] = lambda _fact: None,
) -> str:
    """Ask for a full export of the table as it is now (Amazon DynamoDB API Reference, "ExportTableToPointInTime"), wait
    until it is done, and return its location for `read_export`.

    A job that was stopped meanwhile and asks again within eight hours is given the same export: the request's token is
    made from the table's id and the job. An export of the job that had failed before is asked for once more.

    Args:
        job: the job's name; two jobs get two exports.

    Raises:
        ConfigError: point-in-time recovery is off, it may not be asked for, or it failed: with DynamoDB's own reason.
        SinkUnavailable: DynamoDB is out of reach or too many exports are under way; ask again.
    """
    prefix = prefix.strip("/")
    where = f"s3://{bucket}/{prefix}".rstrip("/")
    asked: dict[str, Any] = {"TableArn": table.arn, "S3Bucket": bucket, "ExportFormat": format.value}
    if prefix:
        asked["S3Prefix"] = prefix
    for failed_before in range(_FAILED_BEFORE):
        token = sha256("\n".join((table.id, table.arn, where, format, job, str(failed_before))).encode()).hexdigest()
        with _explained(table, where):
            description = dynamodb.export_table_to_point_in_time(**asked, ClientToken=token[:32])["ExportDescription"]
        if description["ExportStatus"] != "FAILED":
            break
    arn = description["ExportArn"]
    done = _awaited(dynamodb, table, arn, where, sleep, observe)
    if done["ExportStatus"] == "FAILED":
        raise ConfigError(
            f"the export {arn} to {where} failed: {done.get('FailureCode', '')}: {done.get('FailureMessage', '')}",
            remedy="Mend the cause, then ask for an export again.",
        )
    return f"{where}/AWSDynamoDB/{arn.rpartition('/')[2]}"


def _awaited(
    dynamodb: DynamoDBClient,
    table: SourceTable,
    arn: str,
    where: str,
    sleep: Callable[[float], None],
    observe: Callable[[ExportAwaited], None],
) -> Mapping[str, Any]:
    """The description of the export once it is under way no more."""

    def described() -> Mapping[str, Any]:
        with _explained(table, where):
            found: Mapping[str, Any] = dynamodb.describe_export(ExportArn=arn)["ExportDescription"]
        observe(ExportAwaited(table.name, arn, found["ExportStatus"]))
        return found

    wait = tenacity.wait_exponential(_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS)
    patient = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(SinkUnavailable),
        wait=wait,
        stop=tenacity.stop_after_attempt(_TRIES),
        sleep=sleep,
        reraise=True,
    )
    until_done = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda found: found["ExportStatus"] == "IN_PROGRESS"), wait=wait, sleep=sleep
    )
    found: Mapping[str, Any] = until_done(lambda: patient(described))
    return found


@contextmanager
def _explained(table: SourceTable, where: str) -> Iterator[None]:
    try:
        with translated("export", f"an export of {table.name} to {where} can't be had"):
            yield
    except SinkUnavailable as error:
        code = code_of(error.__cause__)
        if code in _REFUSALS:
            what, remedy = _REFUSALS[code]
            about = {"table": table.name, "where": where}
            raise ConfigError(what.format(**about), remedy=remedy.format(**about)) from error
        if code in _FAULTS:
            raise ConfigError(
                error.message, remedy="Check the table, the bucket, its region and the prefix."
            ) from error
        raise


_FAULTS = ("ValidationException", "InvalidExportTimeException", "ExportConflictException", "ExportNotFoundException")

_MAY_NOT = (
    "the table {table} may not be exported to {where}: access denied",
    "Allow dynamodb:ExportTableToPointInTime on the table, dynamodb:DescribeExport on its exports, and s3:PutObject, "
    "s3:PutObjectAcl and s3:AbortMultipartUpload on {where}.",
)

_REFUSALS = {
    "PointInTimeRecoveryUnavailableException": (
        "the table {table} can't be exported: its point-in-time recovery is off",
        "aws dynamodb update-continuous-backups --table-name {table} "
        "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
    ),
    "AccessDeniedException": _MAY_NOT,
    "UnrecognizedClientException": _MAY_NOT,
    "TableNotFoundException": ("there is no table {table} to be exported", "Check its name and AWS_REGION."),
    "ResourceNotFoundException": ("there is no table {table} to be exported", "Check its name and AWS_REGION."),
}
