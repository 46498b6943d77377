"""The memory of an index: of earlier versions, of processes that write at once, of what somebody else has put there."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import AuthorizationException

from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping
from cdc.testing import SimulatedClock, SimulatedOpenSearch
from tests.admitting import mapping, meta, start


@pytest.fixture
def server() -> SimulatedOpenSearch:
    return SimulatedOpenSearch(SimulatedClock())


def put_meta(server: SimulatedOpenSearch, cdc: dict[str, Any]) -> None:
    server.indices.put_mapping(index="orders-v1", body={"_meta": {"cdc": cdc}})


def test_mappings_that_take_turns_do_not_fill_the_index_with_them(
    server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(70):
        start(server, mapping("{index: orders, fields: {include: [a]}}"))
        start(server, mapping("{index: orders, fields: {include: [b]}}", "{index: reports}"))
    fields = server.indices.get_mapping(index="orders")["orders-v1"]["mappings"]["properties"]
    assert len(fields["_cdc_turns"]["properties"]) == 100
    caplog.clear()
    start(server, mapping("{index: orders, fields: {include: [b]}}"))
    assert "keep the earlier ones" in caplog.text
    start(server, mapping("{index: orders, fields: {include: [a]}}"))
    assert "go on to be made by the mapping that it carries" in caplog.text
    with pytest.raises(ConfigError, match="could be one document"):
        start(server, mapping("{index: orders}", table="other"))


def test_numbers_of_any_size_are_remembered(server: SimulatedOpenSearch) -> None:
    for number in (10**37 + 1, "1.5", "12345678901234567890.123456789"):
        index = f"orders-{str(number).replace('.', '-')}"
        start(server, mapping(f"{{index: {index}, where: {{n: [{number}]}}}}"))
        start(server, mapping(f"{{index: {index}, where: {{n: [{number}, 7]}}}}"))
        with pytest.raises(ConfigError, match="also when their items are removed"):
            start(server, mapping(f"{{index: {index}, where: {{n: [{number}1]}}}}"))


def test_a_mapping_that_may_not_be_written_is_a_warning(
    server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture
) -> None:
    class Forbidding:
        def __init__(self) -> None:
            self.indices = self

        def __getattr__(self, name: str) -> Any:
            return getattr(server.indices, name)

        def put_mapping(self, **_about: Any) -> None:
            raise AuthorizationException(403, "security_exception", {})

    server.indices.create(index="orders")
    start(Forbidding(), mapping("{index: orders}"))
    assert "allow this user or role to put its mapping" in caplog.text


def test_a_memory_of_somebody_elses_making_stops_nothing(server: SimulatedOpenSearch) -> None:
    server.indices.create(index="orders", body={"mappings": {"_meta": {"cdc": "Connected Data Company"}}})
    server.indices.create(index="others", body={"mappings": {"_meta": {"cdc": {"tables": ["shop"]}}}})
    start(server, mapping("{index: orders}"))
    assert list(meta(server, "orders")["tables"]) == ["shop"]


FORMAT_1 = {
    "format": 1,
    "body": "44136fa355b3678a",
    "tables": {
        "shop": {
            "arn": "arn:aws:dynamodb:eu-west-1:111122223333:table/shop",
            "stream": "arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-01-15T09:30:00.123",
            "minute": 3177690,
        }
    },
}


def test_an_index_of_an_older_version_is_upgraded_in_place(server: SimulatedOpenSearch) -> None:
    start(server, mapping("{index: orders}"), remember=False)
    put_meta(server, FORMAT_1)
    start(server, mapping('{index: orders, id: ["{table}", pk]}'))
    assert meta(server)["format"] == 3
    assert list(meta(server)["documents"]["shop"]["id"]) == ["{table}", "pk"]
    assert meta(server)["body"] == FORMAT_1["body"]
    with pytest.raises(ConfigError, match="keep their old ids"):
        start(server, mapping("{index: orders}"))


def test_a_table_that_is_new_waits_for_one_of_an_older_version_to_say_its_ids(server: SimulatedOpenSearch) -> None:
    start(server, mapping("{index: orders}"), remember=False)
    put_meta(server, FORMAT_1)
    newcomer = mapping('{index: orders, id: ["{table}", pk]}', table="other")
    with pytest.raises(ConfigError) as refused:
        start(server, newcomer)
    assert "start the process of 'shop' first" in refused.value.remedy
    start(server, mapping('{index: orders, id: ["{table}", pk]}'))
    start(server, newcomer)


def test_two_tables_of_an_older_version_are_upgraded_one_after_the_other(server: SimulatedOpenSearch) -> None:
    start(server, mapping("{index: orders}"), remember=False)
    arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/other"
    put_meta(server, {**FORMAT_1, "tables": {**FORMAT_1["tables"], "other": {"arn": arn}}})  # type: ignore[dict-item]
    for table in ("shop", "other", "shop"):
        start(server, mapping('{index: orders, id: ["{table}", pk]}', table=table))
    assert sorted(meta(server)["documents"]) == ["other", "shop"]


def test_a_redrive_is_held_to_nothing_and_remembered_by_nobody(server: SimulatedOpenSearch) -> None:
    start(server, mapping("{index: orders}"))
    before = meta(server)
    start(server, mapping("{index: orders}", table="gone"), remember=False)
    start(server, mapping('{index: orders, id: ["{table}", pk]}'), remember=False)
    assert meta(server) == before


class Overtaken:
    """OpenSearch's `indices`, where another process writes between this one's reading and its writing."""

    def __init__(self, server: SimulatedOpenSearch, others: list[CompiledMapping]) -> None:
        self.indices = self
        self.server = server
        self.others = others

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server.indices, name)

    def put_mapping(self, **about: Any) -> Any:
        if self.others:
            start(self.server, self.others.pop())
        return self.server.indices.put_mapping(**about)


def test_a_race_of_two_first_starts_is_decided_by_the_index(server: SimulatedOpenSearch) -> None:
    server.indices.create(index="orders")
    with pytest.raises(ConfigError, match="could be one document"):
        start(Overtaken(server, [mapping("{index: orders}", table="other")]), mapping("{index: orders}"))
    assert list(meta(server, "orders")["documents"]) == ["other"]


def test_two_that_write_at_once_are_both_remembered(server: SimulatedOpenSearch) -> None:
    server.indices.create(index="orders")
    one, other, third = (mapping('{index: orders, id: ["{table}", pk]}', table=table) for table in ("a", "b", "c"))
    start(Overtaken(server, [other, third]), one)
    assert sorted(meta(server, "orders")["documents"]) == ["a", "b", "c"]


def test_a_start_at_which_nothing_changed_reads_the_memory_once_and_writes_nothing(server: SimulatedOpenSearch) -> None:
    asked: list[str] = []

    class Counted:
        def __init__(self) -> None:
            self.indices = self

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(server.indices, name)

    start(server, mapping("{index: orders}"))
    start(Counted(), mapping("{index: orders}"))
    assert asked == ["exists_alias", "get", "get_mapping"]
