"""Exports asked for: once a job, awaited, and refused with the command that helps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.export import ExportFormat
from cdc.loads.export_request import ExportAwaited, request_export
from cdc.loads.table import SourceTable

ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/shop"
SHOP = SourceTable("shop", ARN, "id-1", ("pk",), ("S",), 0, 0, None, None)


class Exporter:
    """Stands in for DynamoDB: an export a token, whose status is the next of `statuses`, or a fault, at each look."""

    def __init__(self, *statuses: str | Exception) -> None:
        self.statuses = list(statuses)
        self.asked: list[dict[str, Any]] = []
        self.exports: dict[str, dict[str, Any]] = {}

    def export_table_to_point_in_time(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        token = asked["ClientToken"]
        if token not in self.exports:
            arn = f"{ARN}/export/{len(self.exports)}"
            self.exports[token] = {"ExportArn": arn, "ExportStatus": "IN_PROGRESS"}
        return {"ExportDescription": dict(self.exports[token])}

    def describe_export(self, *, ExportArn: str) -> dict[str, Any]:  # noqa: N803
        status = self.statuses.pop(0)
        if isinstance(status, Exception):
            raise status
        (export,) = (one for one in self.exports.values() if one["ExportArn"] == ExportArn)
        export.update(ExportStatus=status)
        if status == "FAILED":
            export.update(FailureCode="S3NoSuchBucket", FailureMessage="The specified bucket does not exist")
        return {"ExportDescription": dict(export)}


def fault(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ExportTableToPointInTime")


def requested(exporter: Any, job: str = "job-1", prefix: str = "2026/", **more: Any) -> str:
    return request_export(exporter, SHOP, "exports", prefix, job=job, **{"sleep": lambda _seconds: None, **more})


def test_an_export_is_asked_for_and_awaited() -> None:
    exporter = Exporter("IN_PROGRESS", "IN_PROGRESS", "COMPLETED")
    waits: list[float] = []
    seen: list[ExportAwaited] = []
    assert requested(exporter, sleep=waits.append, observe=seen.append) == "s3://exports/2026/AWSDynamoDB/0"
    assert [(fact.table, fact.status) for fact in seen] == [
        ("shop", status) for status in ("IN_PROGRESS", "IN_PROGRESS", "COMPLETED")
    ]
    assert waits == sorted(waits)
    assert len(waits) == 2
    (asked,) = exporter.asked
    assert {name: asked[name] for name in asked if name != "ClientToken"} == {
        "TableArn": ARN,
        "S3Bucket": "exports",
        "S3Prefix": "2026",
        "ExportFormat": "DYNAMODB_JSON",
    }


def test_without_a_prefix_it_lies_at_the_top_of_the_bucket() -> None:
    exporter = Exporter("COMPLETED")
    assert requested(exporter, prefix="", format=ExportFormat.ION) == "s3://exports/AWSDynamoDB/0"
    assert "S3Prefix" not in exporter.asked[0]
    assert exporter.asked[0]["ExportFormat"] == "ION"


def test_a_job_that_asks_again_is_given_the_same_export_and_another_job_another() -> None:
    exporter = Exporter(*["COMPLETED"] * 3)
    assert requested(exporter) == requested(exporter) == "s3://exports/2026/AWSDynamoDB/0"
    assert requested(exporter, job="job-2") == "s3://exports/2026/AWSDynamoDB/1"


def test_an_export_that_fails_tells_why_and_the_job_may_ask_for_another() -> None:
    exporter = Exporter("FAILED", "COMPLETED", "COMPLETED")
    with pytest.raises(
        ConfigError, match=r"export/0 to s3://exports/2026 failed: S3NoSuchBucket: The specified bucket"
    ):
        requested(exporter)
    assert requested(exporter) == "s3://exports/2026/AWSDynamoDB/1"
    assert requested(exporter) == "s3://exports/2026/AWSDynamoDB/1"


def test_a_job_whose_exports_failed_again_and_again_asks_no_more() -> None:
    exporter = Exporter(*["FAILED"] * 20)
    for _ in range(12):
        with pytest.raises(ConfigError, match="S3NoSuchBucket"):
            requested(exporter)
    assert len(exporter.exports) == 8


def test_a_short_outage_is_waited_for() -> None:
    assert requested(Exporter(*[fault("ThrottlingException")] * 5, "COMPLETED")) == "s3://exports/2026/AWSDynamoDB/0"


def test_a_long_outage_ends_the_wait_and_the_job_goes_on_later() -> None:
    exporter = Exporter(*[fault("InternalServerError")] * 6, "COMPLETED")
    with pytest.raises(SinkUnavailable, match="an export of shop to s3://exports/2026 can't be had"):
        requested(exporter)
    assert requested(exporter) == "s3://exports/2026/AWSDynamoDB/0"


class Refusing(Exporter):
    """Refuses to export."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def export_table_to_point_in_time(self, **_asked: Any) -> dict[str, Any]:
        raise fault(self.code)


REFUSALS: Sequence[tuple[str, str]] = [
    (
        "PointInTimeRecoveryUnavailableException",
        r"point-in-time recovery is off\n.*aws dynamodb update-continuous-backups --table-name shop "
        r"--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
    ),
    ("AccessDeniedException", r"may not be exported to s3://exports/2026.*\n.*dynamodb:ExportTableToPointInTime"),
    ("TableNotFoundException", r"there is no table shop to be exported\n.*AWS_REGION"),
    ("ValidationException", r"can't be had: .*\n.*Check the table, the bucket, its region and the prefix"),
]


@pytest.mark.parametrize(("code", "message"), REFUSALS)
def test_a_refusal_says_what_helps(code: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        requested(Refusing(code))


def test_too_many_exports_at_once_are_a_reason_to_ask_again() -> None:
    with pytest.raises(SinkUnavailable, match="LimitExceededException"):
        requested(Refusing("LimitExceededException"))
