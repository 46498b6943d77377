"""An index carries the rules by which its documents are made, and a process makes them by these."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from cdc.errors import ConfigError
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.writes import Delete, Put
from cdc.sinks.opensearch.carried import CarriedMapping, carried, compiled_from
from cdc.testing import SimulatedClock, SimulatedOpenSearch, change
from tests.admitting import mapping, meta, start

KEYS = ("pk",)
EVERYTHING = """
- index: orders
  where: {kind: [order], amount: [{numeric: [">=", 12345678901234567890123456789012345678]}]}
  id: ["{table}", pk]
  routing: pk
  fields: {exclude: [secret, "a.b"], rename: {n: number}}
  unless_only: [seen]
  on_remove: tombstone
  on_expiry: keep
  on_unfit: dead_letter
- {index: orders, where: {kind: [offer]}, id: ["{table}", pk], routing: pk, on_remove: tombstone, on_expiry: keep}
- {index: other}
"""


def of(documents: str, source: str = "shop.yml") -> CompiledMapping:
    return compile_mapping(parse_mapping(f"table: shop\ndocuments:{documents}", source=source), "shop", KEYS)


def as_told(found: CarriedMapping) -> CarriedMapping:
    """Through the index's mapping and back."""
    return msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(found))), CarriedMapping)


def test_all_that_makes_a_document_is_carried_and_goes_to_the_concrete_index() -> None:
    own = of(EVERYTHING)
    theirs = compiled_from(as_told(carried(own, "orders")), "shop", KEYS, "orders-v2", "shop.yml")
    assert carried(theirs, "orders-v2") == carried(own, "orders")
    assert set(theirs.bodies) == {"orders-v2"}
    amount = 12345678901234567890123456789012345679
    order = {"kind": "order", "amount": amount, "n": 1, "a": {"b": 1, "c": 2}}
    for one in (
        change({"pk": "a"}, None, order),
        change({"pk": "a"}, {"kind": "offer"}, {"kind": "neither"}),
        change({"pk": "a"}, {"kind": "offer"}, None),
    ):
        mine = [write for write in own.writes(one) if isinstance(write, Put | Delete) and write.index == "orders"]
        assert [msgspec.structs.replace(write, index="orders-v2") for write in mine] == list(theirs.writes(one))
        assert mine


def test_the_body_of_an_index_is_not_carried() -> None:
    assert carried(of("\n- {index: orders, body: {settings: {number_of_shards: 3}}}"), "orders") == carried(
        of("\n- {index: orders}"), "orders"
    )


def test_an_index_that_is_made_carries_its_mapping() -> None:
    server = SimulatedOpenSearch(SimulatedClock())
    start(server, mapping("{index: orders, where: {kind: [order]}}"))
    (rule,) = meta(server)["mappings"]["shop"]["rules"]
    assert rule == {"where": '{"kind":["order"]}'}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made.py").write_text("def order(item, change):\n    return dict(item)\n")
    return tmp_path


def carried_with(folder: Path, transform: str = "made:order") -> CarriedMapping:
    return carried(of(f'\n- {{index: orders, transform: "{transform}"}}', str(folder / "shop.yml")), "orders")


def test_a_transform_is_loaded_by_its_name_from_beside_the_mapping(folder: Path) -> None:
    compiled = compiled_from(carried_with(folder), "shop", KEYS, "orders-v2", str(folder / "shop.yml"))
    assert compiled.owners[0].transform is not None


def test_another_source_of_a_transform_is_refused(folder: Path) -> None:
    found = carried_with(folder)
    (folder / "made.py").write_text("def order(item, change):\n    return None\n")
    with pytest.raises(ConfigError, match="orders-v2 are made by the transform made:order, which is another") as said:
        compiled_from(found, "shop", KEYS, "orders-v2", str(folder / "shop.yml"))
    assert "a name and a module of its own" in said.value.remedy


def test_a_transform_that_is_not_here_is_refused(folder: Path) -> None:
    found = carried_with(folder)
    (folder / "made.py").unlink()
    with pytest.raises(ConfigError, match="which is not here"):
        compiled_from(found, "shop", KEYS, "orders-v2", str(folder / "shop.yml"))
