"""`cdc backfill` on real servers: what is refused, and an index that takes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from cdc.loads.unit import UnitLoader
from local.demo.traffic import make_table
from tests.integration.backfilling import EQUAL, Done, at_once, begun, cdc, cursors, full, objects, set_stream
from tests.integration.test_kinesis import kinesis
from tests.integration.test_verify import Shop, shop

__all__ = ["at_once", "cdc", "full", "kinesis", "shop"]


def test_a_table_without_a_stream_is_refused_with_the_command_that_switches_it_on(
    full: Shop, cdc: Callable[..., Done]
) -> None:
    set_stream(full, on=False)
    error = cdc("backfill", "--table", full.table).error
    assert f"the table {full.table} has no stream" in error
    assert f"aws dynamodb update-table --table-name {full.table} --stream-specification " in error
    assert not objects(full, "cdc/jobs/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "nowhere"], "there is no table nowhere here → Check its name, AWS_REGION and the credentials."),
        (["--table", "{table}", "--index", "nowhere"], "for the index nowhere .* → Its indices are: {index}."),
        (
            ["--table", "{table}", "--export", "s3://a/b", "--export-now", "s3://a/c"],
            "--export and --export-now exclude each other",
        ),
        (["--table", "{table}", "--export-now", "s3://a/b"], "update-continuous-backups --table-name {table}"),
        (["--table", "{table}", "--export", "nowhere"], "'nowhere' is not the location of an export"),
    ],
    ids=["no such table", "no such index", "two exports", "no recovery", "no location"],
)
def test_what_cannot_be_loaded_is_refused(
    shop: Shop, cdc: Callable[..., Done], arguments: list[str], message: str
) -> None:
    names = {"table": shop.table, "index": shop.index}
    error = cdc("backfill", *(argument.format(**names) for argument in arguments)).error
    assert re.search(message.format(**names), error), error
    assert not objects(shop, "cdc/jobs/")


@pytest.mark.parametrize("unmapped", ["refuse", "skip"])
def test_a_table_that_no_mapping_names_is_refused(
    shop: Shop, cdc: Callable[..., Done], aws: Any, monkeypatch: pytest.MonkeyPatch, unmapped: str
) -> None:
    other = f"other-{uuid4().hex[:8]}"
    make_table(aws("dynamodb"), other)
    monkeypatch.setenv("CDC_UNMAPPED", unmapped)
    error = cdc("backfill", "--table", other).error
    assert "no mapping" in error
    assert other in error
    assert "no mapping names no" not in error


def test_a_load_of_a_table_that_was_made_anew_is_refused(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full)
    dynamodb = full.aws("dynamodb")
    dynamodb.delete_table(TableName=full.table)
    assert "there is no table" in cdc("backfill", "resume", "--table", full.table).error
    make_table(dynamodb, full.table)
    error = cdc("backfill", "resume", "--table", full.table).error
    assert f"the table {full.table} was replaced since the load" in error
    assert f"cdc backfill abort --table {full.table}" in error
    assert cdc("backfill", "abort", "--table", full.table).code == 0
    assert "no load of" in cdc("backfill", "resume", "--table", full.table).error


def test_a_load_whose_stream_was_off_for_a_while_is_refused(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full)
    set_stream(full, on=False)
    assert "is not on any more" in cdc("backfill", "resume", "--table", full.table).error
    set_stream(full, on=True)
    assert "is not on any more" in cdc("backfill", "resume", "--table", full.table).error


def test_a_load_whose_mapping_changed_is_refused(full: Shop, cdc: Callable[..., Done]) -> None:
    begun(full)
    full.mapping.write_text(f"table: {full.table}\ndocuments: [{{index: {full.index}, on_remove: keep}}]")
    error = cdc("backfill", "resume", "--table", full.table).error
    assert f"{full.mapping}: the mapping has changed since the load" in error


def closed(shop: Shop) -> None:
    shop.opensearch.indices.close(index=shop.index)


def read_only(shop: Shop) -> None:
    shop.opensearch.indices.put_settings(index=shop.index, body={"index.blocks.write": True})


def mended(shop: Shop) -> None:
    shop.opensearch.indices.open(index=f"{shop.index}-v1")
    shop.opensearch.indices.put_settings(index=f"{shop.index}-v1", body={"index.blocks.write": False})
    shop.opensearch.cluster.health(index=shop.index, params={"wait_for_active_shards": "1"})


@pytest.mark.parametrize("breaks", [closed, read_only])
def test_a_load_into_an_index_that_takes_nothing_says_so_and_goes_on_when_it_is_mended(
    full: Shop, cdc: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, breaks: Callable[[Shop], None]
) -> None:
    monkeypatch.setattr("cdc.loads.backfill.UnitLoader", partial(UnitLoader, held_seconds=0.3))
    begun(full)
    done = sum(cursor.items for cursor in cursors(full).values())
    breaks(full)
    error = cdc("backfill", "resume", "--table", full.table).error
    assert full.index in error or "the load stands still" in error
    assert sum(cursor.items for cursor in cursors(full).values()) == done
    mended(full)
    ended = cdc("backfill", "resume", "--table", full.table)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, EQUAL)


def test_an_index_that_is_blocked_before_the_load_begins_is_told(full: Shop, cdc: Callable[..., Done]) -> None:
    full.opensearch.indices.create(index=full.index, body={"settings": {"index.blocks.read_only": True}})
    ended = cdc("backfill", "--table", full.table)
    assert ended.code == 1
    assert f"the index {full.index} is blocked: " in ended.err
    assert "lift its block" in ended.err
    assert not objects(full, "cdc/jobs/")
