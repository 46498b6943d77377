"""`cdc backfill` on real servers: what a stopped or killed load leaves, its dead letters, and Kinesis."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cdc.dead_letters.s3 import S3DeadLetters
from cdc.records.stream import Stream
from cdc.records.versions import version_before_stream
from consumers.aws_lambda import changes as aws_lambda
from tests.integration.backfilling import (
    EQUAL,
    ITEMS,
    ROOT,
    Done,
    at_once,
    begun,
    cdc,
    documents,
    full,
    objects,
)
from tests.integration.test_kinesis import KinesisStream, kinesis
from tests.integration.test_verify import MAPPING, Context, Shop, identifier, shop
from tests.integration.test_whole_way import await_equal

__all__ = ["at_once", "cdc", "full", "kinesis", "shop"]


# --- from exports


def test_a_plan_is_printed_and_nothing_is_loaded(full: Shop, cdc: Callable[..., Done]) -> None:
    told = cdc("backfill", "--table", full.table, "--plan-only", "--json")
    (line,) = told.lines
    assert (told.code, line["plan"]["table"], line["plan"]["indices"]) == (0, full.table, [full.index])
    assert not objects(full, "")
    assert not documents(full)
    assert "units" in cdc("backfill", "--table", full.table, "--plan-only").err
    assert cdc("backfill", "status", "--table", full.table).out == f"no load of {full.table}\n"
    runner = cdc("backfill", "--table", full.table, "--plan-only", "--runner", "step-functions", "--json").lines[-1]
    assert runner["runner"]["transitions"] > 3 * line["plan"]["units"]
    assert "start-execution" in cdc("backfill", "--table", full.table, "--runner", "step-functions").error


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
    runs = [(mine.code, mine.out, mine.err), (other.returncode, out, err)]
    assert [EQUAL] in [out.splitlines()[-1:] for _, out, _ in runs], runs
    for code, out, err in runs:
        late = code == 2 and f"no load of {full.table} is unfinished" in err
        assert late or (code, out.splitlines()[-1:]) == (0, [EQUAL]), err
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
