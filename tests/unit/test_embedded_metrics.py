"""A Lambda tells CloudWatch by lines of its log in the embedded metric format."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cdc.observer import (
    ArchivedObject,
    BatchReceived,
    ChangesSettled,
    DeadLettered,
    Flushed,
    LeftForLater,
    RecordsSettled,
    Retried,
    SetAside,
    VersionsTied,
    WriteTimed,
    Wrote,
)
from consumers.aws_lambda.embedded_metrics import (
    AUDIT_METRICS,
    REDRIVE_METRICS,
    SINK_METRICS,
    TABLE_METRICS,
    EmbeddedMetrics,
)

ROOT = Path(__file__).parents[2]


class Told:
    """Metrics, and the lines that they wrote."""

    def __init__(self) -> None:
        self.text = ""
        self.metrics = EmbeddedMetrics("DynamoDBCDC", now=lambda: 1_768_469_400.5, write=self._write)

    def _write(self, text: str) -> None:
        self.text += text

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def tell(metrics: EmbeddedMetrics) -> None:
    """Everything that may be told of an invocation."""
    metrics(BatchReceived("shop", 5, 2.5))
    metrics(Wrote("opensearch", Counter(applied=2, superseded=1, skipped=1, rejected=1)))
    metrics(LeftForLater("opensearch", 1))
    metrics(WriteTimed("opensearch", 0.25))
    metrics(Retried("opensearch", "http_429"))
    metrics(DeadLettered("opensearch", "mapper_parsing_exception"))
    metrics(VersionsTied("orders"))
    metrics(SetAside("orders", "data"))
    metrics(SetAside("orders", "data"))
    metrics(WriteTimed("archive", 0.001))
    metrics(Wrote("archive", Counter(applied=5)))
    metrics(ArchivedObject(1000))
    metrics(Flushed("archive", 0.1))
    metrics(RecordsSettled("shop", 4, 0.4, 900))
    metrics(ChangesSettled("shop", "INSERT", 3))
    metrics(ChangesSettled("shop", "REMOVE", 1))


def test_a_line_for_the_table_and_one_for_each_sink_end_an_invocation() -> None:
    told = Told()
    with told.metrics.invocation("shop"):
        tell(told.metrics)
        assert told.text == ""
    table, archive, index = told.lines
    assert {name: table[name] for name in TABLE_METRICS} == {
        "Records": 5,
        "Settled": 4,
        "Bytes": 900,
        "LeftByCore": 0,
        "Inserts": 3,
        "Modifies": 0,
        "Removes": 1,
        "IteratorAge": 2500,
        "BatchTime": 400,
        "DeadLetters": 1,
        "ArchiveObjects": 1,
        "ArchiveBytes": 1000,
        "VersionTies": 1,
        "SetAside": 2,
    }
    assert table["SetAsideNames"] == {"orders": {"data": 2}}
    assert {name: index[name] for name in SINK_METRICS if name in index} == {
        "Applied": 2,
        "Superseded": 1,
        "Skipped": 1,
        "Deferred": 1,
        "Rejected": 1,
        "Retries": 1,
        "DeadLetters": 1,
        "WriteTime": 250,
    }
    assert (archive["Applied"], archive["WriteTime"], archive["FlushTime"]) == (5, 1, 100)


def test_each_line_is_as_the_specification_wants_it() -> None:
    told = Told()
    with told.metrics.invocation("shop"):
        tell(told.metrics)
    told.metrics.messages(0, 0)
    with told.metrics.invocation(""):
        told.metrics.messages(3, 1)
    for line in told.lines:
        head = line["_aws"]
        assert set(head) == {"Timestamp", "CloudWatchMetrics"}
        assert head["Timestamp"] == 1_768_469_400_500
        (directive,) = head["CloudWatchMetrics"]
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        (dimensions,) = directive["Dimensions"]
        assert set(dimensions) <= {"Table", "Sink"}
        assert all(isinstance(line[name], str) for name in dimensions)
        assert len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert metric["Unit"] in {"Count", "Bytes", "Milliseconds"}
            values = line[metric["Name"]]
            assert all(isinstance(one, int | float) for one in (values if isinstance(values, list) else [values]))
        assert set(line) - {"SetAsideNames"} == {
            "_aws",
            *dimensions,
            *(metric["Name"] for metric in directive["Metrics"]),
        }


def test_times_that_came_several_times_are_all_told_up_to_what_a_line_may_hold() -> None:
    told = Told()
    with told.metrics.invocation("shop"):
        for number in range(150):
            told.metrics(WriteTimed("opensearch", number / 1000))
    (_, index) = told.lines
    assert index["WriteTime"] == list(range(100))


def test_an_invocation_that_fails_is_told_too() -> None:
    told = Told()

    def fail() -> None:
        with told.metrics.invocation("shop"):
            told.metrics(BatchReceived("shop", 5, 0))
            raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        fail()
    (table,) = told.lines
    assert (table["Records"], table["Settled"]) == (5, 0)


def test_nothing_is_left_for_the_next_invocation() -> None:
    told = Told()
    for _ in range(2):
        with told.metrics.invocation("shop"):
            tell(told.metrics)
    first, second = told.lines[:3], told.lines[3:]
    assert first == second
    told.text = ""
    with told.metrics.invocation("shop"):
        pass
    (table,) = told.lines
    assert not any(value for name, value in table.items() if name in TABLE_METRICS)


def test_a_redrive_tells_what_became_of_its_messages() -> None:
    told = Told()
    with told.metrics.invocation(""):
        told.metrics.messages(3, 1)
    (line,) = told.lines
    assert (line["Redriven"], line["Kept"]) == (3, 1)
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]


def test_the_documentation_names_every_metric_with_its_dimensions_and_unit_and_no_other() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([\w, ]*?) ?\| (Count|Bytes|Milliseconds) \| \S",
        (ROOT / "docs/lambda-metrics.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    in_code = {
        *((name, "Table", unit) for name, unit in TABLE_METRICS.items()),
        *((name, "Table, Sink", unit) for name, unit in SINK_METRICS.items()),
        *((name, "", unit) for name, unit in REDRIVE_METRICS.items()),
        *((name, "Table", unit) for name, unit in AUDIT_METRICS.items()),
    }
    assert set(rows) == in_code
