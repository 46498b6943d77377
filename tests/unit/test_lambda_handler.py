"""The handler as Lambda calls it: what it answers, what it tells, what fails its init. Servers are simulated."""

from __future__ import annotations

import base64
import gc
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ConfigError
from cdc.testing import Always, SimulatedClock, SimulatedOpenSearch
from consumers.aws_lambda import handler_for, startup
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from consumers.aws_lambda.startup import Handler, at_init
from consumers.logs import JsonLines, configure_lambda_logging
from consumers.runtime import Runtime, open_runtime
from tests.events import payload
from tests.invoking import Context, Deployment, event_of, records

ROOT = Path(__file__).parents[2]
KINESIS = "arn:aws:kinesis:eu-west-1:111122223333:stream/changes"


def kinesis_record(data: bytes | str, sequence: int = 7) -> dict[str, Any]:
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return {
        "eventSource": "aws:kinesis",
        "eventSourceARN": KINESIS,
        "kinesis": {"sequenceNumber": f"{sequence:056d}", "data": text, "partitionKey": "x"},
    }


def change_record(sequence: int = 7, **facts: Any) -> dict[str, Any]:
    record = payload("kinesis-record")
    record["dynamodb"].update(facts)
    return kinesis_record(json.dumps(record).encode(), sequence)


# --- answers


def test_a_batch_that_is_settled_has_no_failures() -> None:
    deployment = Deployment()
    assert deployment.invoke(event_of(*records(3))) == []
    assert len(deployment.server.documents("orders")) == 3
    assert len(deployment.archived) == 1


@pytest.mark.parametrize("name", ["lambda-dynamodb", "lambda-kinesis"])
def test_every_event_as_aws_sends_it_is_settled(name: str) -> None:
    deployment = Deployment()
    assert deployment.invoke(payload(name)) == []
    assert not deployment.kept


def test_a_poison_record_in_the_middle_is_a_dead_letter_and_fails_nothing() -> None:
    deployment = Deployment()
    assert deployment.invoke(event_of(*records(5, 3))) == []
    assert len(deployment.server.documents("orders")) == 4
    assert len(deployment.kept) == 1


def test_opensearch_out_of_reach_gives_the_first_record_back_and_loses_none() -> None:
    deployment = Deployment()
    deployment.server.restart(down_seconds=3600)
    assert deployment.invoke(event_of(*records(5))) == ["1"]
    assert not deployment.archived
    assert not deployment.kept
    deployment.clock.sleep(3600)
    assert deployment.invoke(event_of(*records(5))) == []
    assert len(deployment.server.documents("orders")) == 5


def test_an_event_of_a_table_that_no_mapping_names_fails_the_invocation() -> None:
    deployment = Deployment(mapping="table: another\ndocuments: [{index: orders}]")
    with pytest.raises(ConfigError, match="no mapping names the table 'shop'"):
        deployment.invoke(event_of(*records(1)))


# --- Kinesis


def test_a_kinesis_batch_is_answered_with_a_kinesis_sequence_number() -> None:
    deployment = Deployment()
    deployment.server.restart(down_seconds=3600)
    assert deployment.invoke(event_of(change_record(7), change_record(8))) == [f"{7:056d}"]


@pytest.mark.parametrize(
    "record",
    [
        kinesis_record(b"no JSON"),
        kinesis_record("not base64!"),
        kinesis_record(b'{"order": 7}'),
        kinesis_record(b"[]"),
        kinesis_record(b'{"tableName": "shop"}'),
        kinesis_record(b'{"tableName": "shop", "dynamodb": {}, "eventName": "INSERT"}'),
        kinesis_record(b""),
    ],
    ids=["no JSON", "no base64", "another producer's", "no object", "no change", "no keys", "empty"],
)
def test_a_kinesis_record_that_is_no_change_is_a_dead_letter_and_those_behind_it_go_on(record: dict[str, Any]) -> None:
    deployment = Deployment()
    assert deployment.invoke(event_of(record, change_record(8))) == []
    assert len(deployment.kept) == 1
    assert len(deployment.server.documents("orders")) == 1


def test_a_kinesis_time_may_be_in_milliseconds_where_that_is_accepted() -> None:
    deployment = Deployment(environment={"CDC_KINESIS_PRECISION": "millisecond"})
    facts = {"ApproximateCreationDateTime": 1_768_469_401_123, "ApproximateCreationDateTimePrecision": "MILLISECOND"}
    assert deployment.invoke(event_of(change_record(7, **facts))) == []
    ((coarse, _),) = deployment.server.documents("orders").values()
    exact = Deployment()
    assert exact.invoke(event_of(change_record(7, ApproximateCreationDateTime=1_768_469_401_123_000))) == []
    assert [version for version, _ in exact.server.documents("orders").values()] == [coarse]


def test_duplicates_and_disorder_of_kinesis_leave_the_newest_state() -> None:
    deployment = Deployment()
    newer = change_record(7, ApproximateCreationDateTime=1_768_469_402_000_000)
    older = change_record(8, ApproximateCreationDateTime=1_768_469_401_000_000, NewImage={"n": {"N": "1"}})
    assert deployment.invoke(event_of(newer, older, newer)) == []
    assert deployment.invoke(event_of(older)) == []
    ((_, source),) = deployment.server.documents("orders").values()
    assert "total" in source


# --- what it tells


class Observed(Deployment):
    """A function whose metrics are read."""

    def __init__(self) -> None:
        self._text = ""
        self._metrics = EmbeddedMetrics("DynamoDBCDC", write=self._write)
        super().__init__(observer=self._metrics)

    def _write(self, text: str) -> None:
        self._text = text

    def told(self, event: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The lines of an invocation by sink; the table's under `table`."""
        with self._metrics.invocation("shop"):
            self.invoke(event)
        lines = [json.loads(line) for line in self._text.splitlines()]
        return {line.get("Sink", "table"): line for line in lines}


def test_an_invocation_is_told_by_table_and_by_sink() -> None:
    deployment = Observed()
    deployment.clock.sleep(60)
    told = deployment.told(event_of(*records(5, 3)))
    table = told["table"]
    assert (table["Records"], table["Settled"], table["Inserts"], table["DeadLetters"]) == (5, 5, 5, 1)
    assert (table["ArchiveObjects"], table["IteratorAge"]) == (1, 60_000)
    assert table["ArchiveBytes"] == len(deployment.s3.objects[deployment.archived[0]].body)
    assert table["Bytes"] == sum(record["dynamodb"].get("SizeBytes", 0) for record in records(5, 3))
    assert (told["opensearch"]["Applied"], told["opensearch"]["Rejected"]) == (4, 1)
    assert told["archive"]["Applied"] == 5
    assert "WriteTime" in told["opensearch"]
    assert "FlushTime" in told["archive"]


def test_what_is_left_for_the_next_delivery_is_told_as_deferred_with_its_retries() -> None:
    deployment = Observed()
    deployment.invoke(event_of(*records(1)))
    deployment.server.faults = Always("request 429")
    told = deployment.told(event_of(*records(4)))
    assert told["opensearch"]["Deferred"] == 4
    assert told["opensearch"]["Retries"] > 1
    assert (told["table"]["Records"], told["table"]["Settled"]) == (4, 0)


def test_one_line_in_the_log_tells_an_invocation_and_nothing_of_an_item(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    deployment = Deployment()
    deployment.invoke(event_of(*records(5)))
    caplog.clear()
    deployment.invoke(event_of(*records(5, 3)))
    (line,) = [record for record in caplog.records if record.name == "consumers.aws_lambda.changes"]
    told = json.loads(JsonLines().format(line))
    assert told["message"] == "5 of 5 records of shop settled (1 to 5)"
    facts = {name: told[name] for name in ("requestId", "table", "records", "settled", "first", "last", "resumeAt")}
    assert facts == {
        "requestId": "c9b8fa9f-5a7f",
        "table": "shop",
        "records": 5,
        "settled": 5,
        "first": "1",
        "last": "5",
        "resumeAt": "",
    }
    assert not any(word in caplog.text for word in ("k3", "poison"))


def test_every_line_in_lambda_has_the_request_s_id() -> None:
    class LambdaLoggerHandler(logging.Handler):
        __module__ = "awslambdaric.bootstrap"

    handler = LambdaLoggerHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    try:
        configure_lambda_logging("INFO")
        record = logging.makeLogRecord({"msg": "held", "levelname": "WARNING", "aws_request_id": "an-id"})
        line = handler.format(record)
        told = json.loads(line)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert (told["requestId"], told["level"], told["message"]) == ("an-id", "WARNING", "held")
    assert "timestamp" in told
    assert line.endswith("}\n")  # what comes next, such as metrics, begins a line of its own


@pytest.mark.parametrize("switch", ["true", "false"])
def test_metrics_are_written_to_standard_output_unless_switched_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], switch: str
) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    monkeypatch.setenv("CDC_EMBEDDED_METRICS", switch)
    monkeypatch.setenv("CDC_METRICS_NAMESPACE", "Shop")
    clock = SimulatedClock()
    handler = handler_for(on_insert=lambda _one: None)
    handler(event_of(*records(2)), Context(clock, clock() + 30))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    namespaces = Counter(line["_aws"]["CloudWatchMetrics"][0]["Namespace"] for line in lines)
    assert namespaces == (Counter({"Shop": 2}) if switch == "true" else Counter())


# --- init


def load(module: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Import a module as Lambda's runtime does; it prints whether that has a handler, whether the collector is on, and
    whether what stands now is kept out of its sight."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "AWS_"))}
    lambda_s = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import gc, {module}; print(callable({module}.handler), gc.isenabled(), gc.get_freeze_count() > 0)",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean, **lambda_s, "AWS_DEFAULT_REGION": "eu-west-1", **environment},
        check=False,
    )


RIGHT = {"CDC_OPENSEARCH_ENDPOINT": "http://127.0.0.1:9", "CDC_DEAD_LETTER_BUCKET": "letters"}


@pytest.mark.parametrize("module", ["consumers.aws_lambda.entry_changes", "consumers.aws_lambda.entry_redrive"])
def test_a_function_that_is_set_up_rightly_is_ready_when_it_is_loaded(module: str) -> None:
    done = load(module, **RIGHT)
    assert done.stdout.strip() == "True True True", done.stderr


@pytest.mark.parametrize(
    ("module", "environment", "message"),
    [
        (
            "consumers.aws_lambda.entry_changes",
            {},
            "there is no OpenSearch to write them to → Set CDC_OPENSEARCH_ENDPOINT",
        ),
        ("consumers.aws_lambda.entry_changes", {**RIGHT, "CDC_BULK_COUNT": "many", "CDC_X": "1"}, "CDC_BULK_COUNT: "),
        ("consumers.aws_lambda.entry_changes", {**RIGHT, "CDC_MAPPINGS": "nowhere"}, "nowhere: there is no such file"),
        ("consumers.aws_lambda.entry_redrive", {**RIGHT, "CDC_DEAD_LETTER_BUCKET": ""}, "Set CDC_DEAD_LETTER_BUCKET"),
    ],
    ids=["no endpoint", "wrong settings", "no mappings", "no bucket"],
)
def test_a_mistake_of_the_deployment_fails_the_init_in_one_line(
    module: str, environment: dict[str, str], message: str
) -> None:
    done = load(module, **environment)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("cdc.errors.ConfigError: ")
    assert message in last


def test_a_transform_that_is_not_there_fails_the_init(tmp_path: Path) -> None:
    (tmp_path / "shop.yml").write_text("table: shop\ndocuments: [{index: orders, transform: 'code:order'}]")
    done = load("consumers.aws_lambda.entry_changes", **RIGHT, CDC_MAPPINGS=str(tmp_path))
    assert f"transform: there is no {tmp_path}/code.py → Put the module beside" in done.stderr.splitlines()[-1]


def test_elsewhere_an_import_needs_no_settings() -> None:
    for module in ("consumers.aws_lambda.entry_changes", "consumers.aws_lambda.entry_redrive"):
        done = load(module, AWS_LAMBDA_RUNTIME_API="")
        assert done.stdout.strip() == "True True False", done.stderr


def test_functions_of_one_s_own_are_made_ready_in_lambda_s_init_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    monkeypatch.setenv("CDC_MAPPINGS", "nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        handler_for(on_insert=lambda _one: None)
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API")
    assert callable(handler_for(on_insert=lambda _one: None))


def test_the_collector_rests_while_a_handler_is_made_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    collecting: list[bool] = []

    def start() -> Handler:
        collecting.append(gc.isenabled())
        raise ConfigError("wrong")

    with pytest.raises(ConfigError):
        at_init(start)
    assert collecting == [False]
    assert gc.isenabled()


def test_clients_live_across_invocations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    made: list[Runtime] = []

    def counted(*args: Any, **facts: Any) -> Runtime:
        made.append(open_runtime(*args, **facts))
        return made[-1]

    monkeypatch.setattr(startup, "open_runtime", counted)
    handler = handler_for(on_insert=lambda _one: None)
    clock = SimulatedClock()
    for _ in range(3):
        handler(event_of(*records(1)), Context(clock, clock() + 30))
    assert len(made) == 1


def test_a_simulated_server_stands_in_for_a_client_with_limits() -> None:
    """`prepare` within a deadline asks the same client."""
    clock = SimulatedClock()
    deployment = Deployment(clock=clock, server=SimulatedOpenSearch(clock))
    assert deployment.invoke(event_of(*records(1))) == []
    assert deployment.server.indices.exists_alias(name="orders")


def test_a_batch_that_the_breaker_holds_takes_the_invocations_time_and_not_the_retries() -> None:
    deployment = Deployment()
    assert deployment.invoke(event_of(*records(150, *range(1, 151))), seconds=120.0) == ["100"]
    assert deployment.took > 60
    assert deployment.left >= 0


def test_opensearch_that_comes_back_within_the_invocation_gets_the_batch() -> None:
    deployment = Deployment()
    deployment.server.restart(down_seconds=20)
    assert deployment.invoke(event_of(*records(5)), seconds=120.0) == []
    assert len(deployment.server.documents("orders")) == 5
