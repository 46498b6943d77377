"""The sinks' needs of OpenSearch and S3, asked of the simulated ones and of the real ones alike."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError
from opensearchpy.exceptions import NotFoundError, OpenSearchException, RequestError, TransportError

from cdc.mappings.model import TOMBSTONE_FIELD
from cdc.sinks.opensearch.purge import purge
from cdc.sinks.opensearch.tombstones import ALIVE
from cdc.testing import SimulatedClock, SimulatedOpenSearch, SimulatedS3

LARGEST_VERSION = 2**63 - 1


@pytest.fixture(params=["simulated", "real"])
def client(request: pytest.FixtureRequest) -> Any:
    """OpenSearch."""
    return (
        SimulatedOpenSearch(SimulatedClock()) if request.param == "simulated" else request.getfixturevalue("opensearch")
    )


@pytest.fixture
def made(client: Any, index: str) -> str:
    """The name of an alias that hides tombstones, of the index `<name>-v1`."""
    body = {"aliases": {index: ALIVE}, "mappings": {"properties": {TOMBSTONE_FIELD: {"type": "date"}}}}
    client.indices.create(index=f"{index}-v1", body=body)
    return index


def put(index: str, identifier: str, version: int, source: Any = None, **about: Any) -> bytes:
    text = source if isinstance(source, bytes) else orjson.dumps(source or {"n": version % 1000})
    return line("index", index, identifier, version, about) + text + b"\n"


def delete(index: str, identifier: str, version: int, **about: Any) -> bytes:
    return line("delete", index, identifier, version, about)


def line(action: str, index: str, identifier: str, version: int, about: dict[str, Any]) -> bytes:
    external = {"_index": index, "_id": identifier, "version": version, "version_type": "external_gte"}
    return orjson.dumps({action: {**external, **about}}) + b"\n"


def answers(client: Any, *operations: bytes) -> list[tuple[int, str]]:
    """The status of each operation, with the result or the type of the error."""
    items = client.bulk(body=b"".join(operations))["items"]
    found = [answer for item in items for answer in item.values()]
    return [(answer["status"], answer.get("result") or answer["error"]["type"]) for answer in found]


def held(client: Any, index: str) -> dict[str, Any]:
    client.indices.refresh(index=index)
    hits = client.search(index=index, params={"version": "true", "size": 100})["hits"]["hits"]
    return {hit["_id"]: hit["_version"] for hit in hits}


CONFLICT = (409, "version_conflict_engine_exception")


def test_a_write_stands_until_one_of_its_version_or_a_higher_one_comes(client: Any, made: str) -> None:
    versions = [5, 5, 4, 6, LARGEST_VERSION, LARGEST_VERSION - 1]
    found = [answers(client, put(made, "a", version))[0] for version in versions]
    assert found == [(201, "created"), (200, "updated"), CONFLICT, (200, "updated"), (200, "updated"), CONFLICT]
    assert held(client, made) == {"a": LARGEST_VERSION}


def test_a_deleted_document_s_version_is_remembered(client: Any, made: str) -> None:
    assert answers(client, put(made, "a", 5), delete(made, "a", 4)) == [(201, "created"), CONFLICT]
    assert answers(client, delete(made, "a", 6), put(made, "a", 5)) == [(200, "deleted"), CONFLICT]
    assert answers(client, delete(made, "a", 6), put(made, "a", 6)) == [(404, "not_found"), (201, "created")]


def test_a_delete_of_a_document_that_never_was_is_remembered_too(client: Any, made: str) -> None:
    assert answers(client, delete(made, "a", 6), put(made, "a", 5)) == [(404, "not_found"), CONFLICT]


def test_closing_an_index_forgets_its_deletes_whatever_gc_deletes_says(client: Any, made: str) -> None:
    client.indices.put_settings(index=made, body={"index": {"gc_deletes": "1h"}})
    answers(client, put(made, "kept", 9), delete(made, "a", 6))
    client.indices.close(index=f"{made}-v1")
    client.indices.open(index=f"{made}-v1")
    assert answers(client, put(made, "a", 5), put(made, "kept", 8)) == [(201, "created"), CONFLICT]


def test_a_delete_makes_a_missing_index_whether_or_not_an_alias_is_required(client: Any, index: str) -> None:
    assert answers(client, delete(index, "a", 6, require_alias=True)) == [(404, "not_found")]
    assert client.indices.exists(index=index)
    assert not client.indices.exists_alias(name=index)


def test_no_index_is_made_where_one_index_operation_of_the_request_requires_an_alias(client: Any, index: str) -> None:
    missing = (404, "index_not_found_exception")
    operations = delete(index, "a", 6), put(index, "b", 6, require_alias=True), put(index, "c", 6)
    assert answers(client, *operations) == [missing, missing, missing]
    assert not client.indices.exists(index=index)


def test_an_index_operation_makes_a_missing_index_unless_an_alias_is_required(client: Any, index: str) -> None:
    assert answers(client, put(index, "a", 6, require_alias=True)) == [(404, "index_not_found_exception")]
    assert not client.indices.exists(index=index)
    assert answers(client, put(index, "a", 6)) == [(201, "created")]
    assert answers(client, put(index, "a", 6, require_alias=True)) == [(404, "index_not_found_exception")]


def test_a_write_through_an_alias_lands_in_its_index(client: Any, made: str) -> None:
    operations = put(made, "a", 5, require_alias=True) + delete(made, "b", 5, require_alias=True)
    items = client.bulk(body=operations)["items"]
    assert [answer["_index"] for item in items for answer in item.values()] == [f"{made}-v1"] * 2
    assert [answer["_version"] for item in items for answer in item.values()] == [5, 5]


def test_an_alias_of_two_indices_takes_no_writes(client: Any, index: str) -> None:
    for number in (1, 2):
        client.indices.create(index=f"{index}-v{number}", body={"aliases": {index: {}}})
    assert answers(client, put(index, "a", 5, require_alias=True)) == [(400, "illegal_argument_exception")]


@pytest.mark.parametrize(
    ("setting", "status"),
    [("index.blocks.write", 403), ("index.blocks.read_only", 403), ("index.blocks.read_only_allow_delete", 429)],
)
def test_a_block_refuses_each_write_until_it_is_lifted(client: Any, made: str, setting: str, status: int) -> None:
    client.indices.put_settings(index=made, body={setting: True})
    blocked = (status, "cluster_block_exception")
    try:
        assert answers(client, put(made, "a", 5), delete(made, "b", 5)) == [blocked, blocked]
        assert held(client, made) == {}
    finally:
        client.indices.put_settings(index=made, body={setting: None})
    assert answers(client, put(made, "a", 5)) == [(201, "created")]


def test_a_closed_index_refuses_each_write(client: Any, made: str) -> None:
    client.indices.close(index=f"{made}-v1")
    closed = (400, "index_closed_exception")
    assert answers(client, put(made, "a", 5, require_alias=True), delete(made, "b", 5)) == [closed, closed]
    with pytest.raises(RequestError, match="index_closed_exception"):
        client.count(index=made)
    assert client.indices.exists_alias(name=made)


@pytest.mark.parametrize(
    ("malformed", "kind"),
    [
        (put("x", "a", LARGEST_VERSION + 1), "input_coercion_exception"),
        (put("x", "ü" * 257, 5), "action_request_validation_exception"),
        (b'{"upsert": {"_index": "x", "_id": "a"}}\n{}\n', "illegal_argument_exception"),
        (b"\n", "action_request_validation_exception"),
    ],
    ids=["version beyond 2^63-1", "id of 514 bytes", "no such action", "nothing"],
)
def test_a_malformed_operation_fails_its_whole_request(client: Any, made: str, malformed: bytes, kind: str) -> None:
    good = b"" if malformed == b"\n" else put(made, "good", 5)
    with pytest.raises(RequestError) as caught:
        answers(client, good, malformed)
    assert (caught.value.status_code, caught.value.error) == (400, kind)
    assert held(client, made) == {}


@pytest.mark.parametrize("name", ["_id", "_source", "", ".x", "x..y"])
def test_a_document_with_a_field_name_that_is_refused_fails_alone(client: Any, made: str, name: str) -> None:
    found = answers(client, put(made, "a", 5), put(made, "b", 5, {name: 1}), put(made, "c", 5))
    assert [status for status, _ in found] == [201, 400, 201]


def test_a_source_that_is_no_json_fails_alone(client: Any, made: str) -> None:
    assert answers(client, put(made, "b", 5, b'{"n":}'), put(made, "c", 5)) == [
        (400, "mapper_parsing_exception"),
        (201, "created"),
    ]


def test_whole_numbers_come_back_with_every_digit(client: Any, made: str) -> None:
    client.indices.put_mapping(index=made, body={"properties": {"n": {"type": "double"}}})
    assert answers(client, put(made, "a", 5, b'{"n": 12345678901234567890123456789012345678}')) == [(201, "created")]
    assert client.get(index=made, id="a")["_source"] == {"n": 12345678901234567890123456789012345678}


def test_an_alias_hides_tombstones_from_searches_but_not_from_a_get(client: Any, made: str) -> None:
    answers(client, put(made, "alive", 5), put(made, "dead", 6, {TOMBSTONE_FIELD: "2026-01-01T00:00:00+00:00"}))
    assert held(client, made) == {"alive": 5}
    assert held(client, f"{made}-v1") == {"alive": 5, "dead": 6}
    assert (client.count(index=made)["count"], client.count(index=f"{made}-v1")["count"]) == (1, 2)
    assert client.get(index=made, id="dead")["_version"] == 6


def test_tombstones_are_purged_page_by_page_at_the_version_seen(
    client: Any, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdc.sinks.opensearch.purge._PAGE", 3)
    now = datetime(2026, 1, 3, tzinfo=UTC)
    for hours in range(40):
        died = (now - timedelta(hours=hours)).isoformat()
        answers(client, put(made, f"dead-{hours:02}", 5 + hours, {TOMBSTONE_FIELD: died}))
    answers(client, put(made, "alive", 5))
    assert purge(client, made, timedelta(hours=25), now) == 14
    left = held(client, f"{made}-v1")
    assert sorted(left) == ["alive", *(f"dead-{hours:02}" for hours in range(26))]


def test_the_mapping_s_meta_is_replaced_and_its_properties_are_added_to(client: Any, made: str) -> None:
    client.indices.put_mapping(index=made, body={"_meta": {"cdc": {"a": 1}}, "properties": {"n": {"type": "long"}}})
    client.indices.put_mapping(index=made, body={"_meta": {"cdc": {"b": 2}}})
    mappings = client.indices.get_mapping(index=made)[f"{made}-v1"]["mappings"]
    assert mappings["_meta"] == {"cdc": {"b": 2}}
    assert mappings["properties"] == {TOMBSTONE_FIELD: {"type": "date"}, "n": {"type": "long"}}


def test_an_index_shows_its_aliases_and_settings(client: Any, made: str) -> None:
    client.indices.put_settings(index=made, body={"index": {"gc_deletes": "20m"}})
    (name,) = client.indices.get(index=made)
    assert name == f"{made}-v1"
    assert client.indices.get(index=made)[name]["settings"]["index"]["gc_deletes"] == "20m"
    assert (
        client.indices.get(index=name, params={"flat_settings": "true"})[name]["settings"]["index.gc_deletes"] == "20m"
    )
    assert client.indices.get_alias(name=made) == {name: {"aliases": {made: ALIVE}}}
    assert client.indices.get_alias(index=name) == {name: {"aliases": {made: ALIVE}}}


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda client, name: client.indices.get(index=name), id="get"),
        pytest.param(lambda client, name: client.indices.get_mapping(index=name), id="get_mapping"),
        pytest.param(lambda client, name: client.indices.put_alias(index=name, name="alias"), id="put_alias"),
        pytest.param(lambda client, name: client.indices.delete(index=name), id="delete"),
        pytest.param(lambda client, name: client.search(index=name), id="search"),
        pytest.param(lambda client, name: client.get(index=name, id="a"), id="get a document"),
    ],
)
def test_what_is_not_there_is_not_found(client: Any, index: str, look: Callable[[Any, str], object]) -> None:
    with pytest.raises(NotFoundError) as caught:
        look(client, index)
    assert (caught.value.status_code, caught.value.error) == (404, "index_not_found_exception")


def test_a_missing_alias_or_document_is_not_found(client: Any, made: str) -> None:
    with pytest.raises(NotFoundError, match=r"alias \[no\] missing"):
        client.indices.get_alias(name="no")
    with pytest.raises(NotFoundError) as caught:
        client.get(index=made, id="no")
    assert caught.value.info == {"_index": f"{made}-v1", "_id": "no", "found": False}


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("{}-v1", {}, "resource_already_exists_exception"),
        ("{}", {}, "invalid_index_name_exception"),
        ("{}-v2", {"aliases": {"{}-v1": {}}}, "invalid_alias_name_exception"),
        ("{}-V2", {}, "invalid_index_name_exception"),
    ],
    ids=["an index's", "an alias's", "an alias with an index's", "capitals"],
)
def test_a_name_that_is_taken_or_not_allowed_is_refused(
    client: Any, made: str, name: str, body: dict[str, Any], kind: str
) -> None:
    aliases = {alias.format(made): about for alias, about in body.get("aliases", {}).items()}
    with pytest.raises(RequestError) as caught:
        client.indices.create(index=name.format(made), body={"aliases": aliases})
    assert caught.value.error == kind


def test_an_index_is_deleted_by_its_own_name_only(client: Any, made: str) -> None:
    with pytest.raises(OpenSearchException, match="matches an alias"):
        client.indices.delete(index=made)
    client.indices.delete(index=f"{made}-v1")
    assert not client.indices.exists_alias(name=made)


Step = Callable[[Any], object]


def a_step(chance: random.Random, alias: str, concrete: str) -> Step:
    """Operations on few documents by several names, or something that befalls the index."""
    if chance.random() < 0.75:
        names = [alias, alias, alias, concrete, f"{alias}-missing"]
        body = b"".join(
            chance.choice([put, put, delete])(
                chance.choice(names), chance.choice("abc"), chance.randint(1, 40), require_alias=chance.random() < 0.5
            )
            for _ in range(chance.randint(1, 6))
        )
        return lambda client: [
            (action, *map(answer.get, ("_index", "status", "result", "_version")), answer.get("error", {}).get("type"))
            for item in client.bulk(body=body)["items"]
            for action, answer in item.items()
        ]
    kind, blocked = chance.choice(["write", "read_only", "read_only_allow_delete"]), chance.choice([True, None])
    body_of_index = {"aliases": {alias: {}}, "settings": {"index": {"gc_deletes": "1h"}}}
    steps: list[Step] = [
        lambda client: client.indices.close(index=concrete) and None,
        lambda client: client.indices.open(index=concrete) and None,
        lambda client: client.indices.open(index=concrete) and None,
        lambda client: client.indices.put_settings(index=concrete, body={f"index.blocks.{kind}": blocked}),
        lambda client: client.indices.put_settings(index=concrete, body={f"index.blocks.{kind}": None}),
        lambda client: client.indices.delete_alias(index=concrete, name=alias),
        lambda client: client.indices.put_alias(index=concrete, name=alias),
        lambda client: client.indices.put_alias(index=concrete, name=alias),
        lambda client: client.indices.delete(index=concrete),
        lambda client: client.indices.delete(index=f"{alias}-missing"),
        lambda client: client.indices.create(index=concrete, body=body_of_index) and None,
        lambda client: client.indices.create(index=concrete, body=body_of_index) and None,
        lambda client: held(client, concrete),
    ]
    return chance.choice(steps)


def what_comes_of(step: Step, client: Any) -> object:
    try:
        return step(client)
    except TransportError as error:
        return error.status_code, error.error


@pytest.mark.parametrize("seed", range(6))
def test_the_simulated_opensearch_answers_as_the_real_one_does(opensearch: Any, index: str, seed: int) -> None:
    chance, simulated = random.Random(seed), SimulatedOpenSearch(SimulatedClock())  # noqa: S311  (not a secret)
    for number in range(120):
        step = a_step(chance, index, f"{index}-v1")
        assert what_comes_of(step, simulated) == what_comes_of(step, opensearch), f"step {number} of seed {seed}"


@pytest.fixture(params=["simulated", "real"])
def store(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """S3 and a bucket."""
    if request.param == "simulated":
        return SimulatedS3(SimulatedClock()), "archive"
    return request.getfixturevalue("aws")("s3"), request.getfixturevalue("bucket")


def code(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_is_made_only_where_there_is_none(store: tuple[Any, str]) -> None:
    s3, bucket = store
    s3.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
    assert code(caught.value) == ("PreconditionFailed", 412)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


def test_an_object_is_replaced_only_while_it_is_the_one_that_was_seen(store: tuple[Any, str]) -> None:
    s3, bucket = store
    first = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"]
    second = s3.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=first)["ETag"]
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=bucket, Key="a", Body=b"3", IfMatch=first)
    assert code(caught.value) == ("PreconditionFailed", 412)
    assert s3.head_object(Bucket=bucket, Key="a")["ETag"] == second
    s3.delete_object(Bucket=bucket, Key="a")
    with pytest.raises(s3.exceptions.NoSuchKey) as gone:
        s3.put_object(Bucket=bucket, Key="a", Body=b"4", IfMatch=second)
    assert code(gone.value) == ("NoSuchKey", 404)


def test_a_missing_object_is_said_to_be_missing(store: tuple[Any, str]) -> None:
    s3, bucket = store
    with pytest.raises(s3.exceptions.NoSuchKey) as caught:
        s3.get_object(Bucket=bucket, Key="a")
    assert code(caught.value) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as headless:
        s3.head_object(Bucket=bucket, Key="a")
    assert code(headless.value) == ("404", 404)
    s3.delete_object(Bucket=bucket, Key="a")


def test_an_object_keeps_its_metadata(store: tuple[Any, str]) -> None:
    s3, bucket = store
    made = s3.put_object(Bucket=bucket, Key="a", Body=b"x", Metadata={"digest": "d"}, ContentType="application/json")
    found = s3.get_object(Bucket=bucket, Key="a")
    assert (found["Metadata"], found["ContentType"], found["ContentLength"]) == ({"digest": "d"}, "application/json", 1)
    assert found["ETag"] == made["ETag"] == '"9dd4e461268c8034f5c8564e155c67a6"'


def test_keys_are_listed_in_order_a_page_at_a_time(store: tuple[Any, str]) -> None:
    s3, bucket = store
    for key in ("p/b", "p/a", "q/a", "p/c", "p/d"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="p/", MaxKeys=3))
    assert [[entry["Key"] for entry in page["Contents"]] for page in pages] == [["p/a", "p/b", "p/c"], ["p/d"]]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="none/")
