"""Whose fault an error of OpenSearch is: the table, and what the sink makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from opensearchpy.exceptions import RequestError, TransportError

from cdc import Applied, Deadline, Deferred, Rejected
from cdc.causes import KINDS, CauseKind, Next
from cdc.sinks.opensearch.answers import ANSWERS, STATUSES, Doubtful, Whose, meaning_of
from cdc.sinks.opensearch.bulk import request_failure, verdict
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change
from tests.unit.test_index_sink import sink_of


def answer(status: int, kind: str, reason: str = "", index: str = "orders-v1") -> dict[str, Any]:
    return {"index": {"_index": index, "status": status, "error": {"type": kind, "reason": reason}}}


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_only_errors_of_the_document_or_its_request_are_rejected(kind: str) -> None:
    rejects = ANSWERS[kind].whose in (Whose.DOCUMENT, Whose.REQUEST)
    outcome = verdict(answer(400, kind), "orders")
    assert isinstance(outcome, Rejected if rejects else Deferred)
    assert not isinstance(outcome, Doubtful)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_each_error_of_the_table_has_a_kind_of_cause_that_fits(kind: str) -> None:
    rejects = ANSWERS[kind].whose in (Whose.DOCUMENT, Whose.REQUEST)
    assert KINDS[ANSWERS[kind].kind].next is (Next.DEAD_LETTER if rejects else Next.RETRY)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 504])
def test_a_status_of_the_index_or_the_time_goes_before_the_error_type(status: int, kind: str) -> None:
    assert meaning_of(status, kind).whose in (Whose.INDEX, Whose.TIME, Whose.REQUEST)
    if ANSWERS[kind].whose is Whose.DOCUMENT:
        assert isinstance(verdict(answer(status, kind), "orders"), Deferred)


@pytest.mark.parametrize("status", sorted({*STATUSES, 500, 503, 599}))
def test_an_unknown_error_is_told_by_its_status(status: int) -> None:
    assert meaning_of(status, "some_new_exception").whose is STATUSES.get(status, meaning_of(503, "")).whose


def test_a_write_that_went_no_further_than_its_alias_is_no_fault_of_the_document() -> None:
    reason = "no write index is defined for alias [orders]."
    outcome = verdict(answer(400, "illegal_argument_exception", reason, "orders"), "orders")
    assert isinstance(outcome, Deferred)
    assert outcome.cause.kind is CauseKind.INDEX_UNAVAILABLE
    reached = verdict(answer(400, "illegal_argument_exception", reason, "orders-v1"), "orders")
    assert isinstance(reached, Rejected)


def test_a_pipeline_that_is_gone_is_the_index_s_fault_where_it_is_written_to_by_its_own_name_too() -> None:
    outcome = verdict(answer(400, "illegal_argument_exception", "pipeline with id [p] does not exist", "orders"))
    assert isinstance(outcome, Deferred)


def test_an_error_that_nobody_knows_is_in_doubt() -> None:
    assert isinstance(verdict(answer(400, "some_new_exception"), "orders"), Doubtful)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TransportError(400, "<html><body>Bad Request</body></html>", "<html>…"), Deferred),
        (RequestError(400, "", ""), Deferred),
        (TransportError(413, "", ""), Rejected),
        (TransportError(413, "<html>", "<html>"), Rejected),
        (RequestError(400, "index_closed_exception", {"error": {"type": "index_closed_exception"}}), Deferred),
        (RequestError(400, "input_coercion_exception", {"error": {"type": "input_coercion_exception"}}), Rejected),
        (RequestError(400, "some_exception", {"error": {"type": "some_exception"}}), Doubtful),
        (RequestError(400, "illegal_argument_exception", {"error": {"type": "illegal_argument_exception"}}), Doubtful),
        (TransportError(403, "cluster_block_exception", {"error": {"type": "cluster_block_exception"}}), Deferred),
        (TransportError(404, "<html>", "<html>"), Deferred),
        (TransportError(501, "<html>", "<html>"), Deferred),
    ],
)
def test_a_request_that_fails_as_a_whole(error: Exception, kind: type) -> None:
    assert type(request_failure(error)) is kind


class Refusing:
    """OpenSearch with an answer of its own for requests that hold any of some ids."""

    def __init__(self, ids: set[str], *, whole: Exception | None = None, kind: str = "some_new_exception") -> None:
        self.server = SimulatedOpenSearch(SimulatedClock())
        self.indices = self.server.indices
        self.ids, self.whole, self.kind = ids, whole, kind
        self.requests: list[list[str]] = []

    def bulk(self, *, body: bytes, params: Any) -> Any:
        lines = body.split(b"\n")[0:-1:2]
        ids = [orjson.loads(line)["index"]["_id"] for line in lines]
        self.requests.append(ids)
        if self.whole is not None and self.ids & set(ids):
            raise self.whole
        found = self.server.bulk(body=body, params=params)
        items = [
            answer(400, self.kind) if identifier in self.ids else item
            for identifier, item in zip(ids, found["items"], strict=True)
        ]
        return {**found, "errors": bool(self.ids & set(ids)), "items": items}


def outcomes(sink: OpenSearchSink, *ids: str) -> list[type]:
    changes = [change({"pk": name}, None, {"n": 1}, sequence=10**20) for name in ids]
    return [type(outcome) for outcome in sink.write(changes, Deadline.after(5))]


def test_an_unknown_error_defers_first_and_rejects_when_it_comes_again_alone() -> None:
    server = Refusing({"odd"})
    sink = sink_of(server)
    assert outcomes(sink, "a", "odd", "b") == [Applied, Deferred, Applied]
    assert outcomes(sink, "odd", "c") == [Rejected, Applied]
    assert ["odd"] in server.requests


def test_an_unknown_error_that_passes_is_applied() -> None:
    server = Refusing({"odd"})
    sink = sink_of(server)
    assert outcomes(sink, "odd") == [Deferred]
    server.ids.clear()
    assert outcomes(sink, "odd") == [Applied]


PAGE = TransportError(400, "<html><body>400 Bad Request</body></html>", "<html>…")
UNKNOWN = RequestError(400, "some_exception", {"error": {"type": "some_exception"}})


@pytest.mark.parametrize("times", range(3))
def test_a_page_of_html_says_nothing_of_documents_however_often_it_comes(times: int) -> None:
    sink = sink_of(Refusing({"a", "b"}, whole=PAGE))
    for _ in range(times + 1):
        assert outcomes(sink, "a", "b") == [Deferred, Deferred]
        assert outcomes(sink, "a") == [Deferred]


def test_one_operation_that_spoils_its_request_is_found_and_rejected_the_second_time() -> None:
    sink = sink_of(Refusing({"odd"}, whole=UNKNOWN))
    assert outcomes(sink, "a", "b", "odd", "c") == [Applied, Applied, Deferred, Applied]
    assert outcomes(sink, "odd") == [Rejected]


def test_a_request_error_that_each_operation_gets_is_no_operation_s_fault() -> None:
    sink = sink_of(Refusing({"a", "b", "c"}, whole=UNKNOWN))
    for _ in range(3):
        assert outcomes(sink, "a", "b", "c") == [Deferred] * 3


def test_the_page_has_the_whole_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "opensearch-answers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `?(\w+)`? \| ([\w ]+) \|$", page, re.MULTILINE))
    told = {kind: str(meaning.whose) for kind, meaning in ANSWERS.items()}
    told |= {str(status): str(meaning.whose) for status, meaning in STATUSES.items()}
    assert {name: whose for name, whose in rows.items() if "_" in name or name.isdigit()} == told
