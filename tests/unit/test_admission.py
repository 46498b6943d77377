"""An index remembers what makes a document one, and every process is held to it at its start."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.model import Mappings
from cdc.records.stream import Stream
from cdc.sinks.opensearch.admission import OnChangedMapping
from cdc.sinks.opensearch.indices import prepare
from cdc.sinks.opensearch.targets import Targets
from cdc.testing import SimulatedClock, SimulatedOpenSearch
from consumers.preparation import TablePreparation
from consumers.settings import load_settings
from tests.admitting import mapping, meta, start, stream
from tests.members import join, new_member


@pytest.fixture
def server() -> SimulatedOpenSearch:
    return SimulatedOpenSearch(SimulatedClock())


@pytest.mark.parametrize("other", ["suppliers", "Shop"])
def test_two_tables_of_one_index_are_refused_in_whatever_processes(server: SimulatedOpenSearch, other: str) -> None:
    start(server, mapping("{index: orders}"))
    with pytest.raises(ConfigError, match="items of the two could be one document") as refused:
        start(server, mapping("{index: orders}", table=other))
    assert "an index of its own" in refused.value.remedy
    assert list(meta(server)["tables"]) == ["shop"]


def test_tables_that_differ_in_capitals_only_share_no_index_of_their_name(server: SimulatedOpenSearch) -> None:
    start(server, mapping('{index: "{table}-orders"}', table="Shop"))
    with pytest.raises(ConfigError, match="'Shop' and 'shop' both write to 'shop-orders-v1'"):
        start(server, mapping('{index: "{table}-orders"}'))


def test_tables_whose_ids_begin_by_the_table_share_an_index(server: SimulatedOpenSearch) -> None:
    for table in ("shop", "Shop", "suppliers"):
        start(server, mapping('{index: orders, id: ["{table}", pk]}', table=table))
    assert sorted(meta(server)["documents"]) == ["Shop", "shop", "suppliers"]


@pytest.mark.parametrize("lines", ['{index: orders, id: [pk, "{table}"]}', "{index: orders}"])
def test_a_table_in_one_id_only_or_in_another_place_keeps_nothing_apart(
    server: SimulatedOpenSearch, lines: str
) -> None:
    start(server, mapping('{index: orders, id: ["{table}", pk]}'))
    with pytest.raises(ConfigError, match="could be one document"):
        start(server, mapping(lines, table="other"))


def test_tables_whose_keys_are_pinned_to_different_values_share_an_index(server: SimulatedOpenSearch) -> None:
    keys = ("pk", "sk")
    start(server, mapping("{index: orders, where: {pk: [eu]}}", keys=keys))
    start(server, mapping("{index: orders, where: {pk: [us]}}", table="other", keys=keys))
    with pytest.raises(ConfigError, match="could be one document"):
        start(server, mapping("{index: orders, where: {pk: [eu]}}", table="third", keys=keys))


def test_two_tables_of_one_process_are_refused_before_the_index_is_asked(server: SimulatedOpenSearch) -> None:
    texts = {"shop": '{index: orders, id: ["{table}", pk]}', "other": "{index: orders}"}
    files = tuple(mapping(line, table=table).mapping for table, line in texts.items())
    tables = TablePreparation(Mappings(files), server, Targets())  # type: ignore[arg-type]
    tables.prepare(stream("shop"), ["pk"])
    with pytest.raises(ConfigError, match="both write to 'orders': items of the two could be one document"):
        tables.prepare(stream("other"), ["pk"], remember=False)


def test_two_documents_that_leave_out_a_key_must_pin_it_to_one_value() -> None:
    with pytest.raises(ConfigError, match="leaves out the key attribute 'pk'"):
        mapping(
            "{index: orders, id: [sk], where: {pk: [a]}}",
            "{index: orders, id: [sk], where: {pk: [b]}}",
            keys=("pk", "sk"),
        )


def test_two_names_of_one_index_are_refused(server: SimulatedOpenSearch) -> None:
    server.indices.create(index="orders-v1", body={"aliases": {"orders": {}, "all-orders": {}}})
    with pytest.raises(ConfigError, match="are both orders-v1"):
        start(server, mapping("{index: orders}", "{index: all-orders}"))


CHANGES = {
    "id": ("{index: orders}", '{index: orders, id: ["{table}", pk]}', "keep their old ids"),
    "routing": ("{index: orders}", "{index: orders, routing: pk}", "where the old routing has put them"),
    "a narrower where": ("{index: orders}", "{index: orders, where: {n: [1]}}", "also when their items are removed"),
    "another where": (
        "{index: orders, where: {n: [{numeric: ['>', 1]}]}}",
        "{index: orders, where: {n: [{numeric: ['>', 2]}]}}",
        "also when their items are removed",
    ),
}


@pytest.mark.parametrize(("before", "after", "leaves"), CHANGES.values(), ids=CHANGES)
def test_a_mapping_that_would_leave_documents_behind_is_refused_or_accepted_with_a_warning(
    server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture, before: str, after: str, leaves: str
) -> None:
    start(server, mapping(before))
    with pytest.raises(ConfigError, match=leaves) as refused:
        start(server, mapping(after))
    assert "CDC_ON_CHANGED_MAPPING=accept" in refused.value.remedy
    start(server, mapping(before))  # and nothing has changed by that
    caplog.clear()
    start(server, mapping(after), "accept")
    assert leaves in caplog.text
    caplog.clear()
    start(server, mapping(after))  # said once
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_document_taken_out_of_a_mapping_counts_as_a_narrower_where(server: SimulatedOpenSearch) -> None:
    start(server, mapping("{index: orders, where: {kind: [a]}}", "{index: orders, where: {kind: [b]}}"))
    with pytest.raises(ConfigError, match="also when their items are removed"):
        start(server, mapping("{index: orders, where: {kind: [b]}}"))
    start(server, mapping("{index: orders, where: {kind: [b, a]}}"))


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [
        ("where: {n: [1]}", "where: {n: [1, 2]}", "where is wider"),
        ("where: {n: [1]}", "where: {n: [{exists: true}]}", "where is wider"),
        ("where: {n: [1], m: [a]}", "where: {m: [{prefix: a}]}", "where is wider"),
        ("where: {n: [1]}", "id: [pk]", "where is wider"),
        ("fields: {include: [a]}", "fields: {include: [a, b]}", "fields has more"),
        ("fields: {exclude: [a]}", "id: [pk]", "fields has more"),
        ("id: [pk]", "fields: {exclude: [password]}", "keep the earlier ones"),
        ("on_remove: keep", "on_remove: delete", "the documents of removed items stay"),
    ],
)
def test_what_leaves_nothing_behind_is_said_and_goes_on(
    server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture, before: str, after: str, note: str
) -> None:
    caplog.set_level(logging.INFO)
    start(server, mapping(f"{{index: orders, {before}}}"))
    caplog.clear()
    start(server, mapping(f"{{index: orders, {after}}}"))
    assert note in caplog.text


def test_an_equal_mapping_written_otherwise_is_no_change(
    server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture
) -> None:
    start(server, mapping("{index: orders, where: {n: [1.0, 2]}}"))
    caplog.clear()
    caplog.set_level(logging.WARNING)
    start(server, mapping("{index: orders, id: [pk], where: {n: [2, 1]}}"))
    assert not caplog.records


def test_a_transform_counts_by_its_source(server: SimulatedOpenSearch, tmp_path: Path) -> None:
    def written(folder: str, body: str) -> CompiledMapping:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shop.py").write_text(f"def order(document, change):\n    return {body}\n")
        source = str(tmp_path / folder / "shop.yml")
        return mapping("{index: orders, transform: 'shop:order'}", source=source)

    start(server, written("one", "document"))
    start(server, written("two", "document"))
    with pytest.raises(ConfigError, match="the source of transform has changed"):
        start(server, written("three", "None"))


def test_an_index_that_a_mapping_names_no_more_is_said(
    server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture
) -> None:
    start(server, mapping("{index: orders}", "{index: reports}"))
    start(server, mapping("{index: orders}"))
    assert "reports-v1 holds documents of the table shop too" in caplog.text
    caplog.clear()
    start(server, mapping("{index: orders-2}"))
    assert {"orders-v1", "reports-v1"} <= {str(record.args[0]) for record in caplog.records if record.args}  # type: ignore[index]
    for gone in ("orders-v1", "reports-v1"):
        server.indices.delete(index=gone)
    caplog.clear()
    start(server, mapping("{index: orders-2}"))
    assert not caplog.records


def test_an_id_left_behind_still_keeps_another_table_out(server: SimulatedOpenSearch) -> None:
    start(server, mapping("{index: orders}"))
    start(server, mapping('{index: orders, id: ["{table}", pk]}'), "accept")
    with pytest.raises(ConfigError, match="could be one document"):
        start(server, mapping('{index: orders, id: ["{table}", pk]}', table="other"))


def test_the_setting_is_refuse_unless_it_is_accept() -> None:
    assert load_settings({}).on_changed_mapping == "refuse"
    assert load_settings({"CDC_ON_CHANGED_MAPPING": "accept"}).on_changed_mapping == "accept"


# --- an index that is rebuilt

OLD = "{index: orders}"
NEW = "{index: orders, where: {kind: [order]}}"


@pytest.fixture
def rebuilt(server: SimulatedOpenSearch) -> SimulatedOpenSearch:
    """It was made by the mapping OLD, and is rebuilt by NEW."""
    start(server, mapping(OLD))
    new_member(server, mapping(NEW), stream("shop"), now=0.0)
    join(server)
    return server


@pytest.mark.parametrize("lines", [OLD, NEW])
def test_a_process_may_bring_the_old_or_the_new_mapping(rebuilt: SimulatedOpenSearch, lines: str) -> None:
    before = [meta(rebuilt, index) for index in ("orders-v1", "orders-v2")]
    start(rebuilt, mapping(lines))
    assert [meta(rebuilt, index) for index in ("orders-v1", "orders-v2")] == before


@pytest.mark.parametrize("accept", ["refuse", "accept"])
def test_a_third_mapping_waits_for_the_end_of_the_rebuild(
    rebuilt: SimulatedOpenSearch, accept: OnChangedMapping
) -> None:
    with pytest.raises(ConfigError, match="orders is being rebuilt, and this mapping is neither that of") as refused:
        start(rebuilt, mapping("{index: orders, where: {kind: [offer]}}"), accept)
    assert "cdc rebuild abort --index orders" in refused.value.remedy


def test_a_changed_body_is_no_warning_while_the_index_is_rebuilt(
    rebuilt: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    start(rebuilt, mapping("{index: orders, body: {settings: {number_of_shards: 2}}}"))
    assert "body" not in caplog.text


def test_every_member_remembers_a_new_stream(rebuilt: SimulatedOpenSearch) -> None:
    later = Stream.dynamodb("arn:aws:dynamodb:eu-west-1:111122223333:table/shop/stream/2026-02-15T09:30:00.123")
    prepare(rebuilt, mapping(OLD), later, Targets())  # type: ignore[arg-type]
    streams = [meta(rebuilt, index)["tables"]["shop"]["stream"] for index in ("orders-v1", "orders-v2")]
    assert streams == [later.arn] * 2


def test_a_mapping_that_leaves_documents_behind_is_told_how_to_build_the_index_anew(
    server: SimulatedOpenSearch,
) -> None:
    start(server, mapping(OLD))
    with pytest.raises(ConfigError) as refused:
        start(server, mapping(NEW))
    assert "`cdc rebuild --index orders`" in refused.value.remedy


def test_a_changed_body_is_told_how_to_be_used(server: SimulatedOpenSearch, caplog: pytest.LogCaptureFixture) -> None:
    start(server, mapping(OLD))
    start(server, mapping("{index: orders, body: {settings: {number_of_shards: 2}}}"))
    assert "build the index anew: cdc rebuild --index orders" in caplog.text


def test_an_admitted_mapping_becomes_the_one_that_the_index_carries(server: SimulatedOpenSearch) -> None:
    start(server, mapping(NEW))
    start(server, mapping(OLD))
    assert meta(server)["mappings"]["shop"]["rules"][0]["where"] == "{}"
    start(server, mapping(NEW), "accept")
    assert meta(server)["mappings"]["shop"]["rules"][0]["where"] == '{"kind":["order"]}'


def test_an_index_of_format_2_carries_the_mapping_of_the_first_process_that_starts(server: SimulatedOpenSearch) -> None:
    start(server, mapping(OLD))
    known = {name: part for name, part in meta(server).items() if name != "mappings"}
    server.indices.put_mapping(index="orders-v1", body={"_meta": {"cdc": {**known, "format": 2}}})
    start(server, mapping(OLD))
    assert meta(server)["format"] == 3
    assert meta(server)["mappings"]["shop"]["rules"][0]["where"] == "{}"
