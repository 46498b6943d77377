"""`cdc backfill` on real servers: what is refused, what a stopped or killed load leaves, and its dead letters."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import pytest

from cdc.dead_letters.s3 import S3DeadLetters
from cdc.loads.backfill import Backfill, LoadOptions
from cdc.loads.plan import Cursor
from cdc.loads.unit import LoadStopped, PageDone, UnitLoader
from cdc.records.stream import Stream
from cdc.records.versions import version_before_stream
from cdc.verification.verify import verify
from consumers.aws_lambda import changes as aws_lambda
from consumers.cli.main import main
from consumers.loading import deployment_of, jobs_of
from consumers.runtime import open_runtime
from consumers.settings import load_settings
from local.demo.traffic import make_table
from tests.exporting import FOLDER, json_line, put_manifest, write_export
from tests.integration.test_kinesis import KinesisStream, kinesis
from tests.integration.test_verify import MAPPING, Context, Shop, identifier, shop
from tests.integration.test_whole_way import await_equal

__all__ = ["kinesis", "shop"]

ROOT = Path(__file__).parents[2]
ITEMS = 40
EQUAL = f"{ITEMS} items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters"


@dataclass(frozen=True)
class Done:
    """The end of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The error and its remedy, which are all that is said."""
        assert self.code == 2, (self.code, self.out, self.err)
        lines = self.err[self.err.index("error: ") :].splitlines()
        assert len(lines) == 2, self.err
        assert "Traceback" not in self.err
        return " ".join(line.strip() for line in lines)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output, each line JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def cdc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Done]]:
    """Runs `cdc …` in this process, by the environment as it is."""
    handlers, thresholds = logging.getLogger().handlers[:], gc.get_threshold()

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["cdc", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Done(int(ended.value.code or 0), told.out, told.err)

    yield run
    logging.getLogger().handlers[:] = handlers
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No consumer lags here: a verification takes its second look at once."""
    monkeypatch.setitem(verify.__kwdefaults__ or {}, "settle_seconds", 0.2)


@pytest.fixture
def full(shop: Shop) -> Shop:
    """A table that was full before anybody followed it."""
    for start in range(0, ITEMS, 20):
        puts = [{"PutRequest": {"Item": item(number)}} for number in range(start, start + 20)]
        shop.aws("dynamodb").batch_write_item(RequestItems={shop.table: puts})
    return shop


def item(number: int) -> dict[str, Any]:
    return {"pk": {"S": f"item {number}"}, "sk": {"S": "a|b%"}, "total": {"N": str(number)}}


def documents(shop: Shop) -> set[str]:
    """The ids of the documents; none where there is no index."""
    if not shop.opensearch.indices.exists(index=shop.index):
        return set()
    shop.opensearch.indices.refresh(index=shop.index)
    hits = shop.opensearch.search(index=shop.index, params={"size": 1000})["hits"]["hits"]
    return {hit["_id"] for hit in hits}


def objects(shop: Shop, prefix: str) -> list[str]:
    found = shop.aws("s3").list_objects_v2(Bucket=shop.environment["CDC_ARCHIVE_BUCKET"], Prefix=prefix)
    return [entry["Key"] for entry in found.get("Contents", ())]


def begun(shop: Shop, pages: int = 2) -> str:
    """A load that was stopped behind so many pages; its name."""
    stop, left = Event(), pages

    def observe(fact: object) -> None:
        nonlocal left
        left -= isinstance(fact, PageDone)
        if left <= 0:
            stop.set()

    runtime = open_runtime(load_settings(os.environ))
    load = Backfill(deployment_of(runtime), jobs_of(runtime), LoadOptions(workers=1), stop, observe)
    plan, units = load.planner.of_table(shop.table)
    load.begin(plan, units)
    with pytest.raises(LoadStopped):
        load.run(shop.table, plan.job)
    runtime.close()
    return plan.job


# --- what is refused


def set_stream(shop: Shop, *, on: bool) -> None:
    about = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"} if on else {"StreamEnabled": False}
    shop.aws("dynamodb").update_table(TableName=shop.table, StreamSpecification=about)


def test_a_table_without_a_stream_is_refused_with_the_command_that_switches_it_on(
    full: Shop, cdc: Callable[..., Done]
) -> None:
    set_stream(full, on=False)
    error = cdc("backfill", "--table", full.table).error
    assert f"the table {full.table} has no stream" in error
    assert f"aws dynamodb update-table --table-name {full.table} --stream-specification " in error
    assert not objects(full, "cdc/jobs/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "nowhere"], "there is no table nowhere here → Check its name, AWS_REGION and the credentials."),
        (["--table", "{table}", "--index", "nowhere"], "for the index nowhere .* → Its indices are: {index}."),
        (
            ["--table", "{table}", "--export", "s3://a/b", "--export-now", "s3://a/c"],
            "--export and --export-now exclude each other",
        ),
        (["--table", "{table}", "--export-now", "s3://a/b"], "update-continuous-backups --table-name {table}"),
        (["--table", "{table}", "--export", "nowhere"], "'nowhere' is not the location of an export"),
    ],
    ids=["no such table", "no such index", "two exports", "no recovery", "no location"],
)
def test_what_cannot_be_loaded_is_refused(
    shop: Shop, cdc: Callable[..., Done], arguments: list[str], message: str
) -> None:
    names = {"table": shop.table, "index": shop.index}
    error = cdc("backfill", *(argument.format(**names) for argument in arguments)).error
    assert re.search(message.format(**names), error), error
    assert not objects(shop, "cdc/jobs/")


@pytest.mark.parametrize("unmapped", ["refuse", "skip"])
def test_a_table_that_no_mapping_names_is_refused(
    shop: Shop, cdc: Callable[..., Done], aws: Any, monkeypatch: pytest.MonkeyPatch, unmapped: str
) -> None:
    other = f"other-{uuid4().hex[:8]}"
    make_table(aws("dynamodb"), other)
    monkeypatch.setenv("CDC_UNMAPPED", unmapped)
    error = cdc("backfill", "--table", other).error
    assert "no mapping" in error
    assert other in error
    assert "no mapping names no" not in error


def test_a_load_of_a_table_that_was_made_anew_is_refused(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full)
    dynamodb = full.aws("dynamodb")
    dynamodb.delete_table(TableName=full.table)
    assert "there is no table" in cdc("backfill", "resume", "--table", full.table).error
    make_table(dynamodb, full.table)
    error = cdc("backfill", "resume", "--table", full.table).error
    assert f"the table {full.table} was replaced since the load" in error
    assert f"cdc backfill abort --table {full.table}" in error
    assert cdc("backfill", "abort", "--table", full.table).code == 0
    assert "no load of" in cdc("backfill", "resume", "--table", full.table).error


def test_a_load_whose_stream_was_off_for_a_while_is_refused(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full)
    set_stream(full, on=False)
    assert "is not on any more" in cdc("backfill", "resume", "--table", full.table).error
    set_stream(full, on=True)
    assert "is not on any more" in cdc("backfill", "resume", "--table", full.table).error


def test_a_load_whose_mapping_changed_is_refused(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full)
    full.mapping.write_text(f"table: {full.table}\ndocuments: [{{index: {full.index}, on_remove: keep}}]")
    error = cdc("backfill", "resume", "--table", full.table).error
    assert f"{full.mapping}: the mapping has changed since the load" in error


def closed(shop: Shop) -> None:
    shop.opensearch.indices.close(index=shop.index)


def read_only(shop: Shop) -> None:
    shop.opensearch.indices.put_settings(index=shop.index, body={"index.blocks.write": True})


def mended(shop: Shop) -> None:
    shop.opensearch.indices.open(index=f"{shop.index}-v1")
    shop.opensearch.indices.put_settings(index=f"{shop.index}-v1", body={"index.blocks.write": False})
    shop.opensearch.cluster.health(index=shop.index, params={"wait_for_status": "yellow"})


@pytest.mark.parametrize("breaks", [closed, read_only])
def test_a_load_into_an_index_that_takes_nothing_says_so_and_goes_on_when_it_is_mended(
    full: Shop, cdc: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, breaks: Callable[[Shop], None]
) -> None:
    monkeypatch.setattr("cdc.loads.backfill.UnitLoader", partial(UnitLoader, held_seconds=0.3))
    begun(full)
    done = sum(cursor.items for cursor in cursors(full).values())
    breaks(full)
    error = cdc("backfill", "resume", "--table", full.table).error
    assert full.index in error or "the load stands still" in error
    assert sum(cursor.items for cursor in cursors(full).values()) == done
    mended(full)
    ended = cdc("backfill", "resume", "--table", full.table)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, EQUAL)


def test_an_index_that_is_blocked_before_the_load_begins_is_told(full: Shop, cdc: Callable[..., Done]) -> None:
    full.opensearch.indices.create(index=full.index, body={"settings": {"index.blocks.read_only": True}})
    ended = cdc("backfill", "--table", full.table)
    assert ended.code == 1
    assert f"the index {full.index} is blocked: " in ended.err
    assert "lift its block" in ended.err
    assert not objects(full, "cdc/jobs/")


def cursors(shop: Shop) -> dict[str, Cursor]:
    """How far the only load is."""
    runtime = open_runtime(load_settings(os.environ))
    jobs = jobs_of(runtime)
    (job,) = jobs.of_table(shop.table)
    found = jobs.cursors(shop.table, job)
    runtime.close()
    return found


# --- from exports


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


def test_a_plan_is_printed_and_nothing_is_loaded(full: Shop, cdc: Callable[..., Done]) -> None:
    told = cdc("backfill", "--table", full.table, "--plan-only", "--json")
    (line,) = told.lines
    assert (told.code, line["plan"]["table"], line["plan"]["indices"]) == (0, full.table, [full.index])
    assert not objects(full, "")
    assert not documents(full)
    assert "units" in cdc("backfill", "--table", full.table, "--plan-only").err
    assert cdc("backfill", "status", "--table", full.table).out == f"no load of {full.table}\n"


def test_every_line_of_a_load_is_json_and_its_state_is_listed(full: Shop, cdc: Callable[..., Done]) -> None:
    ended = cdc("backfill", "--table", full.table, "--json")
    assert ended.code == 0
    assert [next(iter(line)) for line in ended.lines if "progress" not in line] == ["plan", *["step"] * 3, "result"]
    result = ended.lines[-1]["result"]
    assert (result["items"], result["outcomes"], result["findings"]["verdict"]) == (ITEMS, {"applied": ITEMS}, EQUAL)
    assert result["read_units"] > 0
    (row,) = json.loads(cdc("backfill", "status", "--table", full.table, "--json").out)
    assert (row["state"], row["items"], row["verdict"]) == ("finished", ITEMS, EQUAL)
    assert row["units_done"] == row["units"]
    assert "no load of" in cdc("backfill", "abort", "--table", full.table).error
    low = version_before_stream(Stream.dynamodb(full.arn).minute or 0)
    assert {full.held(identifier(number))[0] for number in range(3)} == {low}


def started(*arguments: str) -> subprocess.Popen[str]:
    """`cdc backfill` as a process of its own."""
    command = [sys.executable, "-m", "consumers.cli.main", "backfill", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_load_that_was_stopped_and_killed_goes_on_and_reads_nothing_twice(
    full: Shop, cdc: Callable[..., Done]
) -> None:
    whole = cdc("backfill", "--table", full.table, "--json", "--no-verify").lines[-1]["result"]

    def done() -> int:
        return len([key for key in objects(full, "cdc/jobs/") if "/cursors/" in key])

    began = done()
    slow = ["--table", full.table, "--max-read-units", "2"]
    process = started(*slow)
    await_equal(lambda: done() >= began + 2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopping behind the pages" in err
    assert f"cdc backfill resume --table {full.table}" in err
    stopped = done()
    process = started("resume", *slow)
    await_equal(lambda: done() > stopped)
    process.kill()
    process.communicate()
    (_, row) = json.loads(cdc("backfill", "status", "--table", full.table, "--json").out)
    assert 0 < row["units_done"] < row["units"]
    assert row["state"] == "loading"
    ended = cdc("backfill", "resume", "--table", full.table, "--json")
    assert ended.code == 0
    result = ended.lines[-1]["result"]
    assert (result["items"], result["findings"]["verdict"]) == (ITEMS, EQUAL)
    assert result["read_units"] == whole["read_units"]


def test_two_runs_of_one_load_at_once_end_alike(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full, pages=1)
    other = started("resume", "--table", full.table)
    mine = cdc("backfill", "resume", "--table", full.table, "--max-read-units", "12")
    out, err = other.communicate(timeout=60)
    assert (mine.code, mine.out.splitlines()[-1]) == (0, EQUAL), mine.err
    # the one that comes late may find the load finished
    assert (other.returncode, out.splitlines()[-1:]) in ((0, [EQUAL]), (2, [])), err
    assert {identifier(number) for number in range(ITEMS)} == documents(full)


# --- dead letters


def test_an_item_that_opensearch_refuses_is_a_letter_of_the_load_and_is_redriven(
    shop: Shop, cdc: Callable[..., Done], bucket: str, aws: Any
) -> None:
    text = MAPPING.format(table=shop.table, index=shop.index, on_remove="delete")
    shop.mapping.write_text(text + "    on_unfit: dead_letter\n")
    for number in range(5):
        shop.put(number)
    shop.put(5, odd={"S": "not a number"})
    ended = cdc("backfill", "--table", shop.table, "--json")
    result = ended.lines[-1]["result"]
    assert (ended.code, result["outcomes"]) == (0, {"applied": 5, "rejected": 1})
    assert result["findings"]["verdict"] == "5 items equal, 0 missing, 0 ghosts, 0 stale; 1 dead letters"
    (letter,) = letters(aws, bucket)
    assert letter.record["source"] == "load"
    assert letter.document == f"{shop.index}/{identifier(5)}"
    assert letter.version == version_before_stream(Stream.dynamodb(shop.arn).minute or 0)

    shop.mapping.write_text(text)  # what does not fit is set aside from now on
    redriven = cdc("dead-letters", "redrive", "--all")
    assert redriven.code == 0, redriven.err
    assert letters(aws, bucket) == []
    assert shop.verify().counts == {}
    assert shop.held(identifier(5))[0] == letter.version
    shop.put(5, odd={"N": "5"})
    shop.deliver()
    assert shop.held(identifier(5))[1]["odd"] == 5


def letters(aws: Any, bucket: str) -> list[Any]:
    store = S3DeadLetters(aws("s3"), bucket)
    return [store.read(key) for key in store.keys()]  # noqa: SIM118  (no dictionary)


# --- Kinesis


def test_documents_of_a_load_through_kinesis_rank_below_later_changes(
    shop: Shop, kinesis: KinesisStream, cdc: Callable[..., Done], aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        shop.put(number)
    aws("dynamodb").enable_kinesis_streaming_destination(
        TableName=shop.table,
        StreamArn=kinesis.arn,
        EnableKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"},
    )
    monkeypatch.setenv("CDC_KINESIS_STREAM_ARN", kinesis.arn)
    ended = cdc("backfill", "--table", shop.table)
    assert (ended.code, ended.out.splitlines()[-1]) == (
        0,
        "5 items equal, 0 missing, 0 ghosts, 0 stale; 0 dead letters",
    )
    loaded = shop.held(identifier(0))[0]
    shop.put(0, total={"N": "100"})
    shop.delete(1)
    await_equal(lambda: len(in_kinesis(kinesis)) == 2, 20)
    assert aws_lambda.handler({"Records": in_kinesis(kinesis)}, Context()) == {"batchItemFailures": []}
    version, source = shop.held(identifier(0))
    assert (version > loaded, source["total"]) == (True, 100)
    assert cdc("backfill", "--table", shop.table).code == 0
    assert documents(shop) == {identifier(number) for number in (0, 2, 3, 4)}
    assert shop.held(identifier(0))[1]["total"] == 100


def in_kinesis(stream: KinesisStream) -> list[dict[str, Any]]:
    """The records of the stream as Lambda delivers them."""
    from base64 import b64encode

    found: list[dict[str, Any]] = []
    for shard in stream.open_shards():
        iterator = stream.client.get_shard_iterator(
            StreamARN=stream.arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found += [
            {
                "eventID": f"{shard['ShardId']}:{record['SequenceNumber']}",
                "eventSource": "aws:kinesis",
                "eventSourceARN": stream.arn,
                "kinesis": {
                    "sequenceNumber": record["SequenceNumber"],
                    "partitionKey": record["PartitionKey"],
                    "data": b64encode(record["Data"]).decode(),
                    "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
                },
            }
            for record in stream.client.get_records(ShardIterator=iterator)["Records"]
        ]
    return found


# --- from Python


def test_the_python_of_the_documentation_loads_and_verifies(full: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "existing-tables.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    text = block.replace('"shop"', repr(full.table)).replace("=100)", "=1_000_000)")  # else it waits for its pace
    exec(compile(text, "existing-tables.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.splitlines() == [EQUAL, EQUAL]
