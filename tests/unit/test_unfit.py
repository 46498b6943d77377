"""Which fields of a document are set aside, step by step, and the document that is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from cdc import Applied, Change, Deadline, Deferred
from cdc.errors import ConfigError
from cdc.mappings.preview import documents_of_item
from cdc.mappings.writes import Put
from cdc.observer import Event, SetAside
from cdc.sinks.opensearch.targets import Targets
from cdc.sinks.opensearch.unfit import Attempt, fields_at, fits
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change
from tests.unit.test_index_sink import sink_of


@pytest.mark.parametrize(
    ("document", "path", "fields"),
    [
        ({"a": 1, "b": 2}, "a", ["a"]),
        ({"a": {"b": 1}}, "a.b", ["a"]),
        ({"a": [{"b": [{"c": 1}]}]}, "a.b.c", ["a"]),
        ({"a": {"b": 1}, "a.b": 2}, "a.b", ["a", "a.b"]),
        ({"a": {"c": 1}, "a.b": 2}, "a.b", ["a.b"]),
        ({"total": {"x": 1}}, "total.exact", ["total"]),
        ({"a": {"b.c": 1}}, "a.b.c", ["a"]),
        ({"ab": 1}, "a", []),
        ({"a": 1}, "", []),
        ({"": 1}, "", []),
        ({"a": 1}, "other", []),
    ],
)
def test_a_path_of_an_error_is_believed_only_where_it_leads_into_the_document(
    document: dict[str, Any], path: str, fields: list[str]
) -> None:
    assert fields_at(document, path) == fields


KNOWN = {
    "map": {"properties": {"n": {"type": "double"}, "deep": {"properties": {"x": {"type": "text"}}}}},
    "n": {"type": "double"},
    "empty": {"type": "object"},
    "any": {"type": "object", "enabled": False},
    "flat": {"type": "flat_object"},
    "place": {"type": "geo_point"},
    "list": {"type": "nested", "properties": {"n": {"type": "double"}}},
}


@pytest.mark.parametrize(
    ("name", "value", "does"),
    [
        ("n", 1, True),
        ("n", ["x", None, [True]], True),
        ("n", {"a": 1}, False),
        ("n", [1, {}], False),
        ("map", {"n": 1, "deep": [{"x": "y"}]}, True),
        ("map", {"n": 1, "new": 1}, False),
        ("map", 1, False),
        ("map", None, True),
        ("map.n", 1, True),
        ("map.new", 1, False),
        ("n.x", 1, False),
        ("empty", {}, True),
        ("empty", {"a": 1}, False),
        ("any", {"a": [{"b": 1}]}, True),
        ("any", 1, True),
        ("flat", {"a": 1}, True),
        ("place", {"lat": 1, "lon": 2}, True),
        ("list", [{"n": 1}], True),
        ("new", 1, False),
        ("new", None, True),
        ("new", [], True),
    ],
)
def test_a_value_fits_where_the_index_knows_all_of_it_as_what_it_is(name: str, value: Any, does: bool) -> None:
    assert fits(KNOWN, name, value) is does


def attempt(document: dict[str, Any], keys: tuple[str, ...] = ("pk",)) -> Attempt:
    return Attempt(Put("orders", "a", None, 7, orjson.dumps(document), keys=keys, may_set_aside=True))


def refusing(field: str) -> str:
    reason = f"failed to parse field [{field}] of type [date] in document with id 'a'"
    return json.dumps({"type": "mapper_parsing_exception", "reason": reason})


def test_the_field_that_is_named_is_set_aside_first_then_all_that_is_unknown_then_all_but_the_keys_then_all() -> None:
    one = attempt({"pk": "a", "x": 1, "y": 2, "new": 3, "n": 4})
    details = refusing("x"), refusing("y"), "{}", "{}", "{}", "{}"
    steps = [one.widen(detail, lambda: {**KNOWN, "pk": {"type": "text"}}) and sorted(one.aside) for detail in details]
    assert steps == [["x"], ["x", "y"], ["new", "x", "y"], ["n", "new", "x", "y"], ["n", "new", "pk", "x", "y"], False]


def test_a_document_of_many_fields_is_done_in_ten_rounds() -> None:
    one = attempt({f"f{n}": n for n in range(50)})
    rounds = 0
    while one.widen(refusing(f"f{rounds}"), lambda: {f"f{n}": {"type": "double"} for n in range(50)}):
        rounds += 1
    assert rounds <= 10
    assert len(one.aside) == 50


def test_every_digit_and_the_order_of_fields_stay() -> None:
    text = b'{"a":12345678901234567890123456789012345678,"b":[0.10,1E+125,-0],"c":1}'
    one = Attempt(Put("orders", "a", None, 7, text), {"b", "a"})
    assert one.put.source == (
        b'{"c":1,"_cdc_aside":{"a":12345678901234567890123456789012345678,"b":[0.10,1E+125,-0]},'
        b'"_cdc_aside_names":["a","b"]}'
    )
    assert one.put.version == 7


def test_a_name_that_no_json_of_opensearch_may_have_is_kept_in_a_text() -> None:
    one = attempt({"pk": "a", "n" * 50_001: {"x": 1}})
    assert one.widen("{}", dict)
    document = orjson.loads(one.put.source)
    assert orjson.loads(document["_cdc_aside"]) == {"n" * 50_001: {"x": 1}}


def test_at_most_a_hundred_names_of_an_index_are_told_apart() -> None:
    targets = Targets()
    labels = [targets.label_of_aside("orders", f"name-{n}") for n in range(150)]
    assert len({label for label, _ in labels}) == 101
    assert sum(new for _, new in labels) == 101
    assert targets.label_of_aside("orders", "name-3") == ("name-3", False)
    assert targets.label_of_aside("other", "n" * 60_000)[0] == "n" * 99 + "…"


def odd(pk: str, number: int, **attributes: Any) -> Change:
    return change({"pk": pk}, None, attributes, sequence=number * 10**20)


def test_each_name_is_told_to_the_observer_each_time_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []
    sink = sink_of(SimulatedOpenSearch(SimulatedClock()), observer=events.append)
    sink.write([odd("a", 1, data={"a": 1})], Deadline.after(5))
    for number in (2, 3):
        assert sink.write([odd("b", number, data="secret", _version=1)], Deadline.after(5)) == [Applied()]
    told = [event for event in events if isinstance(event, SetAside)]
    assert told == [SetAside("orders", "_version"), SetAside("orders", "data")] * 2
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([text for text in warnings if "'data'" in text and "cdc mappings aside" in text]) == 1
    assert "secret" not in caplog.text


def test_ordinary_documents_cost_no_request_more() -> None:
    server = Counting(SimulatedOpenSearch(SimulatedClock()))
    sink = sink_of(server)
    server.asked.clear()
    sink.write([odd(f"k{n}", n + 1, n=n) for n in range(50)], Deadline.after(5))
    assert server.asked == {"bulk": 1}


def test_documents_that_do_not_fit_are_sent_again_together() -> None:
    server = Counting(SimulatedOpenSearch(SimulatedClock()))
    sink = sink_of(server)
    sink.write([odd("a", 1, data={"a": 1})], Deadline.after(5))
    before = server.asked["bulk"]
    batch = [odd(f"k{n}", n + 2, **({"data": "x"} if n % 2 else {"n": 1})) for n in range(50)]
    assert sink.write(batch, Deadline.after(5)) == [Applied()] * 50
    assert server.asked["bulk"] - before == 2


def test_where_the_index_mapping_can_t_be_read_what_does_not_fit_waits() -> None:
    server = Counting(SimulatedOpenSearch(SimulatedClock()))
    sink = sink_of(server)
    sink.write([odd("a", 1, data={"a": 1})], Deadline.after(5))
    server.mapping_fails = True
    applied, deferred = sink.write([odd("b", 2, n=1), odd("c", 3, data="x")], Deadline.after(5))
    assert (applied, type(deferred)) == (Applied(), Deferred)
    server.mapping_fails = False
    assert sink.write([odd("c", 3, data="x")], Deadline.after(5)) == [Applied()]


class Counting:
    """A client that counts what it is asked for."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.asked: dict[str, int] = {}
        self.mapping_fails = False
        self.indices = self

    def __getattr__(self, name: str) -> Any:
        from opensearchpy.exceptions import ConnectionTimeout

        self.asked[name] = self.asked.get(name, 0) + 1
        if name == "get_mapping" and self.mapping_fails:
            raise ConnectionTimeout("TIMEOUT", "x", Exception())
        return getattr(self.server if name == "bulk" else self.server.indices, name)


def test_trying_a_mapping_on_an_item_tells_which_names_will_be_set_aside(tmp_path: Path) -> None:
    mapping, item_file = tmp_path / "shop.yml", tmp_path / "item.json"
    item_file.write_text(json.dumps({"pk": "a", "_version": 3, "ok": {"x..y": 1}, "n": 1}))
    mapping.write_text("table: shop\ndocuments: [{index: orders}]")
    (document,) = documents_of_item(mapping, item_file, ("pk",))
    assert document["set_aside"] == ["_version", "ok"]
    mapping.write_text("table: shop\ndocuments: [{index: orders, on_unfit: dead_letter}]")
    with pytest.raises(ConfigError, match="OpenSearch takes no field named '_version'"):
        documents_of_item(mapping, item_file, ("pk",))
