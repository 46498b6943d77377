"""The files in `examples` do what they say."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cdc import Applied, Deadline, Deferred, Operation, Rejected, SinkMisconfigured
from cdc.mappings.preview import Findings, documents_of_item, findings_of
from cdc.sinks.archive_s3 import S3Archive
from cdc.testing import (
    Claim,
    SimulatedClock,
    SimulatedContext,
    SimulatedS3,
    change,
    raw_stream_record,
    sink_contract,
    stream_record,
)

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_here_and_listed() -> None:
    tested, listed = Path(__file__).read_text(), (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.rglob("*.*"):
        if path.suffix in (".py", ".yml"):
            assert path.stem in tested
            assert f"({path.relative_to(EXAMPLES)})" in listed


def test_functions_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_MAPPINGS", "none")
    monkeypatch.delenv("CDC_DEAD_LETTER_BUCKET", raising=False)
    module = load("functions_handler")
    clock = SimulatedClock()

    def answer(*records: dict[str, Any]) -> Any:
        return module.handler({"Records": list(records)}, SimulatedContext(clock, clock() + 60))

    mailed = stream_record({"pk": "a"}, None, {"email": "a@example.com"}, sequence=10**20)
    assert answer(mailed, mailed) == {"batchItemFailures": []}
    assert len(module.mailed) == 1
    unknown = stream_record({"pk": "b"}, None, {"name": "b"}, sequence=2 * 10**20)
    assert answer(mailed, unknown) == {"batchItemFailures": [{"itemIdentifier": str(2 * 10**20)}]}  # no letters here


def test_functions_handler_waits_for_the_mail_server() -> None:
    module = load("functions_handler")
    with pytest.raises(module.Defer) as raised:
        module.welcome(change({"pk": "a"}, None, {"email": "a@elsewhere.example"}))
    assert raised.value.wait_seconds == 30


def rows(path: Path) -> Any:
    with sqlite3.connect(path) as database:
        return sorted(database.execute("SELECT * FROM items"))


@pytest.mark.parametrize("claim", sink_contract, ids=str)
def test_sqlite_sink_keeps_the_contract(claim: Claim, tmp_path: Path) -> None:
    sink = load("sqlite_sink").SqliteSink
    claim(lambda: sink(str(tmp_path / "items.db")), lambda: rows(tmp_path / "items.db"))


def test_sqlite_sink_defers_while_the_file_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("sqlite_sink")
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, **{**options, "timeout": 0.01}))
    sink = module.SqliteSink(str(tmp_path / "items.db"))
    with connect(tmp_path / "items.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        (outcome,) = sink.write([change({"pk": "a"}, None, {"n": 1})], Deadline.after(5))
        assert isinstance(outcome, Deferred)
        other.execute("ROLLBACK")
    assert sink.write([change({"pk": "a"}, None, {"n": 1})], Deadline.after(5)) == [Applied()]


def test_sqlite_sink_rejects_what_cannot_be_read_alone(tmp_path: Path) -> None:
    from cdc import changes_from_lambda

    sink = load("sqlite_sink").SqliteSink(str(tmp_path / "items.db"))
    poison = raw_stream_record({"pk": {"S": "a"}}, None, {"n": {"N": "x"}}, sequence=str(10**20), event_id="1")
    good = stream_record({"pk": "b"}, None, {"n": 1}, sequence=2 * 10**20)
    outcomes = sink.write(list(changes_from_lambda({"Records": [poison, good]})), Deadline.after(5))
    assert [type(outcome) for outcome in outcomes] == [Rejected, Applied]


def test_sqlite_sink_says_that_its_path_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SinkMisconfigured, match="can't be opened"):
        load("sqlite_sink").SqliteSink(str(tmp_path / "no" / "items.db"))


def test_mapping_shop_with_its_transform_order_total(tmp_path: Path) -> None:
    file = EXAMPLES / "mappings" / "shop.yml"
    assert findings_of([file]) == Findings(1, [], [])
    item = tmp_path / "item.json"
    item.write_text(
        '{"pk": "C#1", "sk": "ORDER#7", "card": "4111", "status": "paid", "lines": [{"price": 12.5, "count": 2}]}'
    )
    (document,) = documents_of_item(file, item, ("pk", "sk"))
    assert document["index"] == "orders"
    assert "4111" not in str(document)
    assert "25.0" in str(document["source"])
    item.write_text('{"pk": "C#1", "sk": "ORDER#7", "status": "draft"}')
    assert not documents_of_item(file, item, ("pk", "sk"))


def test_read_archive() -> None:
    from cdc.mappings.files import parse_mapping

    client = SimulatedS3(SimulatedClock())
    mapping = parse_mapping("table: shop", source="shop.yml")
    sink = S3Archive(client, "lake", lambda _table: mapping)  # type: ignore[arg-type]
    changes = [
        change({"pk": "a"}, None, {"n": 1, "m": 1}, sequence=10**20),
        change({"pk": "a"}, {"n": 1, "m": 1}, {"n": 2, "m": 1}, sequence=2 * 10**20),
        change({"pk": "a"}, {"n": 2, "m": 1}, {"n": Decimal(3), "m": 2}, sequence=3 * 10**20),
    ]
    sink.write(changes, Deadline.after(5))
    sink.flush(Deadline.after(5))
    assert load("read_archive").changed_attributes(client, "lake", "shop") == {"n": 2, "m": 1}


def test_differences() -> None:
    before, after = {"city": "Bern", "note": "x"}, {"city": "Genf", "tags": {"a"}}
    record = stream_record({"pk": "C#1"}, before, after)
    assert record["eventName"] == Operation.MODIFY
    assert sorted(load("differences").audit_lines({"Records": [record]})) == [
        "C#1: city 'Bern' -> 'Genf'",
        "C#1: note removed, was 'x'",
        "C#1: tags = frozenset({'a'})",
    ]
