"""`cdc mappings infer` on real servers: a backfill by its file leaves no dead letter, and all is equal."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdc.item_reader import for_boto3
from cdc.records.attributes import Item, encode_item
from local.demo.traffic import TABLE, fill, make_table

Items = Callable[[random.Random], Iterator[Item]]


def forum(chance: random.Random) -> Iterator[Item]:
    """A single-table design with overloaded indices and sort keys of all kinds."""
    for number in range(60):
        user = f"USER#{number}"
        yield {"PK": user, "SK": "META", "GSI1PK": "USERS", "GSI1SK": f"joined#{number}", "email": f"u{number}@x.org"}
        for post in range(3):
            key = f"POST#{uuid.UUID(int=chance.getrandbits(128))}"
            made = f"2026-0{chance.randrange(1, 9)}-1{chance.randrange(9)}T10:00:00Z"
            yield {"PK": user, "SK": key, "GSI1PK": key, "GSI1SK": made, "text": "some words of it", "likes": post}
            yield {"PK": key, "SK": "META", "votes": {user: chance.choice([1, -1])}, "tags": {"a", f"t{post}"}}
    yield {"PK": "config", "SK": "limits", "rate": Decimal("0.1")}


def sensors(chance: random.Random) -> Iterator[Item]:
    """Times as numbers, values of several types at one path, and a number as sort key."""
    for number in range(200):
        reading: Any = chance.choice([Decimal("21.5"), "offline", None, True, [1, "x"], {"raw": 7}])
        yield {
            "device": f"dev-{number % 7}",
            "at": 1_760_000_000 + number,
            "reading": reading,
            "expires_at": 1_770_000_000 + number,
            "sampled_ms": 1_760_000_000_000 + number,
            "serial": 2**60 + number,
            "flags": {Decimal(number), Decimal("1.5")},
        }


def catalogue(chance: random.Random) -> Iterator[Item]:
    """Maps that are keyed by ids, numbers of 38 digits, long texts and deep lists."""
    for number in range(120):
        yield {
            "sku": f"{number:012d}",
            "price": Decimal("12345678901234567890123456789.123456789") + number,
            "stock": {f"store-{chance.randrange(10_000)}": {"count": number, "note": chance.choice([1, "few"])}},
            "reviews": [{"by": f"u{number}", "stars": 5, "more": [{"deep": [1, [2, "three"]]}]}],
            "description": "many words of a long text " * chance.randrange(1, 2000),
            "dimensions": chance.choice(["10x20", {"w": 10, "h": 20}]),
        }


def legacy(chance: random.Random) -> Iterator[Item]:
    """A binary key, and names and values that grew over years."""
    for number in range(150):
        odd = {chance.choice(["_id", "_source", "a.b", "a..c", ".d", "e.", "Ünïcode ☃", "with space", "null"]): "x"}
        yield {
            "id": number.to_bytes(4, "big"),
            "created": chance.choice(["2024-02-30", "2024-02-28", "yesterday", "2024-02-28T10:00:00+02:00"]),
            "amount": chance.choice([Decimal("1E+125"), "1,50", Decimal("-0.00000001"), b"\x01"]),
            "active": chance.choice([True, "Y", 0]),
            "blob": {b"\x00", chance.randbytes(3)},
            "empty": chance.choice(["", {}, [], None]),
            **odd,
            f"field_{number}": number,
        }


TABLES: dict[str, tuple[Items, Sequence[tuple[str, str]]]] = {
    "forum": (forum, [("PK", "S"), ("SK", "S")]),
    "sensors": (sensors, [("device", "S"), ("at", "N")]),
    "catalogue": (catalogue, [("sku", "S")]),
    "legacy": (legacy, [("id", "B")]),
}


def cdc(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "consumers.cli.main", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.fixture
def settings(environment: dict[str, str], bucket: str, tmp_path: Path) -> dict[str, str]:
    return {
        **environment,
        "CDC_MAPPINGS": str(tmp_path / "inferred.yml"),
        "CDC_ARCHIVE_BUCKET": bucket,
        "CDC_DEAD_LETTER_BUCKET": bucket,
    }


def loads_whole(settings: dict[str, str], table: str, sample: int) -> str:
    """Infer, check, load and verify; the file."""
    file = settings["CDC_MAPPINGS"]
    inferred = cdc(settings, "mappings", "infer", "--table", table, "--sample", str(sample), "--out", file)
    assert inferred.returncode == 0, inferred.stderr
    checked = cdc(settings, "mappings", "check", file)
    assert (checked.returncode, checked.stderr) == (0, "")
    loaded = cdc(settings, "backfill", "--table", table, "--json")
    assert loaded.returncode == 0, (loaded.stdout[-2000:], loaded.stderr[-2000:])
    result = json.loads(loaded.stdout.splitlines()[-1])["result"]
    assert "rejected" not in result["outcomes"]
    assert " 0 missing, 0 ghosts, 0 stale; 0 dead letters" in result["findings"]["verdict"]
    return Path(file).read_text()


@pytest.mark.parametrize("name", TABLES)
def test_a_backfill_by_the_inferred_file_leaves_no_dead_letter(name: str, settings: dict[str, str], aws: Any) -> None:
    items_of, keys = TABLES[name]
    table, dynamodb = f"{name}-{uuid.uuid4().hex[:8]}", aws("dynamodb")
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
        KeySchema=[
            {"AttributeName": key, "KeyType": role} for (key, _), role in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for item in items_of(random.Random(name)):  # noqa: S311  (not a secret)
        dynamodb.put_item(TableName=table, Item=for_boto3(encode_item(item)))
    loads_whole(settings, table, sample=100)


def test_the_demos_table_is_told_apart_and_loaded(settings: dict[str, str], aws: Any, tmp_path: Path) -> None:
    table, dynamodb = f"demo-{uuid.uuid4().hex[:8]}", aws("dynamodb")
    make_table(dynamodb, table)

    class Renamed:
        """The demo writes to a table of one name."""

        def batch_write_item(self, RequestItems: Any) -> Any:  # noqa: N803  (boto3's own)
            answer = dynamodb.batch_write_item(RequestItems={table: RequestItems[TABLE]})
            left = answer["UnprocessedItems"].get(table)
            return {"UnprocessedItems": {TABLE: left} if left else {}}

    client: Any = Renamed()
    fill(client, 100)
    text = loads_whole(settings, table, sample=300)
    for kind in ("profile", "order", "line"):
        assert f"index: {table}-{kind}" in text.replace('"', "")


def test_a_file_that_is_there_is_not_replaced(settings: dict[str, str], table: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "shop.yml"
    file.write_text("mine")
    refused = cdc(settings, "mappings", "infer", "--table", table[0], "--out", str(file))
    assert (refused.returncode, file.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    unknown = cdc(settings, "mappings", "infer", "--table", "nowhere")
    assert unknown.returncode == 2
    assert "nowhere" in unknown.stderr
