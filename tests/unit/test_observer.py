"""Observers: told by few words, each everything; the status file is one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from inspect import getmembers, isfunction, signature
from pathlib import Path
from typing import cast

import pytest

from cdc.delivery.shard import BatchFacts
from cdc.observer import Observer, Observers, reason_of
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from consumers.http.metrics import Metrics
from consumers.kcl.status_file import StatusFile, tell

CAUSES = {
    "OpenSearch: 429 rejected_execution_exception": "rejected_execution_exception",
    "OpenSearch: 413": "http_413",
    "OpenSearch: 502 <html>Zürich</html>": "http_502",
    "OpenSearch answered 200 without a reason": "http_200",
    "OpenSearch is out of reach: ConnectionTimeout": "out_of_reach",
    "OpenSearch's answer is no JSON": "strange_answer",
    "the index orders-2026 has vanished": "index_vanished",
    "the alias orders has vanished": "index_vanished",
    "rejected in masses: OpenSearch: 400 mapper_parsing_exception": "rejected_in_masses",
    "rejected, and there is no dead-letter store: OpenSearch: 400 x": "no_dead_letter_store",
    "rejected, and the dead letter could not be stored: s3://b/p": "dead_letter_not_stored",
    "deferred_too_long: OpenSearch: 429 x": "deferred_too_long",
    "the item can't be read at M.secret: it is no number": "unreadable_item",
    "archive: s3://b/table=shop/1.gz: An error occurred (SlowDown) when calling the PutObject operation": "SlowDown",
    'archive: s3://b: Could not connect to the endpoint URL: "http://s3/b"': "out_of_reach",
    "archive: s3://b/key keeps being written by others": "lost_race",
    "archive: the deadline has passed before the archive was written": "deadline",
    "opensearch: it does not answer while the index orders is looked up: ConnectionError x": "out_of_reach",
    "table: 3 items of shop can't be read yet: it is throttled": "throttled",
    "my_function raised KeyError, attempt 1 of 3": "function_raised",
    "my_function rejected it": "function_rejected",
    "my_function: the customer Zürich is not known": "other",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_reason_is_one_of_few_words_and_quotes_nothing(cause: str) -> None:
    assert reason_of(cause) == CAUSES[cause]


METHODS = [name for name, _ in getmembers(Observer, isfunction) if not name.startswith("_")]


def test_several_observers_are_each_told_everything() -> None:
    told: list[tuple[str, str]] = []

    def recorder(who: str) -> Observer:
        def method(name: str) -> Callable[..., None]:
            return lambda *_: told.append((who, name))

        kind = type("Recorder", (Observer,), {name: method(name) for name in METHODS})
        return cast("Observer", kind())

    both = Observers((recorder("a"), recorder("b")))
    for name in METHODS:
        getattr(both, name)(*["x"] * (len(signature(getattr(Observer, name)).parameters) - 1))
    assert told == [(who, name) for name in METHODS for who in ("a", "b")]


def test_the_metrics_want_to_know_everything() -> None:
    only_of_a_lambda = {"received"}
    assert {name for name in METHODS if name in vars(Metrics)} == set(METHODS) - only_of_a_lambda


def test_the_embedded_metrics_want_to_know_everything() -> None:
    assert {name for name in METHODS if name in vars(EmbeddedMetrics)} == set(METHODS)


def test_the_status_file_has_a_line_for_a_sink_s_outcomes_and_one_for_a_batch(tmp_path: Path) -> None:
    status = StatusFile(tmp_path / "status.jsonl")
    status.wrote("opensearch", Counter(applied=2, skipped=1))
    status.batch(BatchFacts("shard-1", "shop", Counter(applied=2, skipped=1), 5, 7))
    assert [json.loads(line) for line in (tmp_path / "status.jsonl").read_text().splitlines()] == [
        {"sink": "opensearch", "outcomes": {"applied": 2, "skipped": 1}},
        {"shard": "shard-1", "table": "shop", "settled": 3, "millis_behind": 5, "newest_micros": 7},
    ]


def test_a_batch_is_told_as_records_and_as_changes_of_each_table() -> None:
    told: list[tuple[object, ...]] = []

    class Recorder(Observer):
        def settled(self, table: str, records: int, seconds: float, size_bytes: int = 0) -> None:
            told.append((table, records, seconds, size_bytes))

        def changed(self, table: str, operation: str, count: int) -> None:
            told.append((table, operation, count))

    changes = Counter({("shop", "INSERT"): 2, ("orders", "REMOVE"): 1})
    tell(Recorder(), BatchFacts("shard-1", "a-stream", Counter(applied=3, rejected=1), 5, 7, "", changes, 0.5, 900))
    assert told == [("a-stream", 4, 0.5, 900), ("shop", "INSERT", 2), ("orders", "REMOVE", 1)]
