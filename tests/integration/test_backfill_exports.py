"""`cdc backfill` from exports, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.exporting import FOLDER, json_line, put_manifest, write_export
from tests.integration.backfilling import EQUAL, ITEMS, Done, at_once, cdc, cursors, documents, full, objects
from tests.integration.test_kinesis import kinesis
from tests.integration.test_verify import Shop, identifier, shop

__all__ = ["at_once", "cdc", "full", "kinesis", "shop"]


@dataclass
class Bucket:
    """An S3 client that writes everything to one bucket."""

    client: Any
    name: str

    def put_object(self, **asked: Any) -> None:
        self.client.put_object(**{**asked, "Bucket": self.name})


@pytest.fixture
def exported(full: Shop, aws: Any, bucket: str) -> Callable[..., str]:
    """Writes an export of the table by hand, with these facts instead of the true ones; its location."""

    def write(**facts: Any) -> str:
        about = aws("dynamodb").describe_table(TableName=full.table)["Table"]
        true = {
            "tableArn": about["TableArn"],
            "tableId": about["TableId"],
            "exportTime": datetime.now(UTC).isoformat(),
            "s3Bucket": bucket,
        }
        lines = [json_line({"pk": f"item {number}", "sk": "a|b%", "total": number}) for number in range(ITEMS)]
        write_export(Bucket(aws("s3"), bucket), [lines[:15], [], lines[15:]], **{**true, **facts})
        return f"s3://{bucket}/{FOLDER}"

    return write


def test_an_export_is_loaded_and_what_was_deleted_since_is_gone(
    full: Shop, exported: Callable[..., str], cdc: Callable[..., Done]
) -> None:
    location = exported()
    full.delete(0)
    full.deliver()  # the archive has the delete
    full.opensearch.indices.delete(index=f"{full.index}-v1")
    ended = cdc("backfill", "--table", full.table, "--export", location, "--json")
    assert ended.code == 0
    result = ended.lines[-1]["result"]
    assert (result["items"], result["read_units"]) == (ITEMS, 0)
    assert result["findings"]["counts"] == {}
    assert documents(full) == {identifier(number) for number in range(1, ITEMS)}


def test_an_export_that_proves_nothing_is_refused(
    full: Shop, exported: Callable[..., str], cdc: Callable[..., Done]
) -> None:
    def refused(**facts: Any) -> str:
        return cdc("backfill", "--table", full.table, "--export", exported(**facts)).error

    other = "arn:aws:dynamodb:us-east-1:000000000000:table/other"
    assert f"is an export of another table: of {other}" in refused(tableArn=other)
    assert f"is an export of an earlier table {full.table}" in refused(tableId="12345a12")
    assert "before its stream began at" in refused(exportTime="2020-01-01T00:00:00.000Z")
    assert "is an incremental export" in refused(exportType="INCREMENTAL_EXPORT")
    assert "itemCount is 7, and the files" in refused(itemCount=7)
    assert not objects(full, "cdc/jobs/")
    assert not documents(full)


def test_an_export_whose_manifest_is_broken_is_refused(
    full: Shop, exported: Callable[..., str], cdc: Callable[..., Done], aws: Any, bucket: str
) -> None:
    location = exported()
    aws("s3").put_object(Bucket=bucket, Key=f"{FOLDER}/manifest-files.json", Body=b"{}")
    assert "does not match its sum" in cdc("backfill", "--table", full.table, "--export", location).error
    put_manifest(Bucket(aws("s3"), bucket), "manifest-summary", b'{"tableArn": 1}')
    assert "manifest-summary.json is broken" in cdc("backfill", "--table", full.table, "--export", location).error
    aws("s3").delete_object(Bucket=bucket, Key=f"{FOLDER}/manifest-summary.json")
    assert "is not finished" in cdc("backfill", "--table", full.table, "--export", location).error


def test_a_data_file_that_does_not_match_its_sum_ends_the_load_and_nothing_of_it_is_written(
    full: Shop, exported: Callable[..., str], cdc: Callable[..., Done], aws: Any, bucket: str
) -> None:
    location, key = exported(), f"{FOLDER}/data/file0.gz"
    good = aws("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    aws("s3").put_object(Bucket=bucket, Key=key, Body=good[:-1] + b"x")
    error = cdc("backfill", "--table", full.table, "--export", location, "--workers", "1").error
    assert f"s3://{bucket}/{key} does not match its sum" in error
    assert not documents(full) & {identifier(number) for number in range(15)}
    assert "file-000000" not in cursors(full)
    aws("s3").put_object(Bucket=bucket, Key=key, Body=good)
    ended = cdc("backfill", "resume", "--table", full.table)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, EQUAL)


def test_an_export_is_asked_for_and_loaded(full: Shop, cdc: Callable[..., Done], aws: Any, bucket: str) -> None:
    aws("dynamodb").update_continuous_backups(
        TableName=full.table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    ended = cdc("backfill", "--table", full.table, "--export-now", f"s3://{bucket}/exports")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, EQUAL)


# --- the commands
