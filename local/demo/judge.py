"""The verdict: table against index, stream against archive, read by AWS's and OpenSearch's plain APIs only.

Nothing of `cdc` is imported here: what is judged must not be its own judge.
"""

from __future__ import annotations

import base64
import gzip
import json
import urllib.request
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodbstreams.client import DynamoDBStreamsClient
    from mypy_boto3_s3.client import S3Client

__all__ = [
    "INDICES",
    "Verdict",
    "judge",
    "judge_rebuilt",
    "plain",
    "quoted",
    "read_index",
    "read_objects",
    "read_stream",
]

INDICES = ("customers", "orders", "order-lines")


@dataclass
class Verdict:
    """The result of the comparison: how much is equal, and each difference."""

    items_equal: int = 0
    missing: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changes: int = 0
    archived: int = 0
    not_archived: list[str] = field(default_factory=list)
    archived_otherwise: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Is everything as it should be?"""
        differing = (self.missing, self.stale, self.extra, self.not_archived, self.archived_otherwise)
        return not any(differing) and self.archived == self.changes

    @property
    def index(self) -> str:
        """How the index compares with the table."""
        return (
            f"{self.items_equal} items equal, {len(self.missing)} missing, {len(self.stale)} stale, "
            f"{len(self.extra)} extra"
        )

    @property
    def archive(self) -> str:
        """How the archive compares with the stream."""
        each = "each once" if self.archived == self.changes else f"of {self.changes} in the stream"
        return f"{self.archived} changes archived, {each}"

    def __str__(self) -> str:
        return f"{self.index}; {self.archive}"


def judge(
    dynamodb: DynamoDBClient,
    s3: S3Client,
    *,
    table: str,
    records: dict[str, Any],
    opensearch_url: str,
    bucket: str,
) -> Verdict:
    """Compare table and index, and `records` of the stream, as `read_stream` gives them, with the archive."""
    verdict = Verdict()
    _judge_index(verdict, _table(dynamodb, table), _indexed(opensearch_url))
    _judge_archive(verdict, records, read_objects(s3, bucket, table))
    return verdict


def judge_rebuilt(dynamodb: DynamoDBClient, table: str, url: str, old: str, new: str) -> dict[str, Verdict]:
    """Compare the table's orders with both indices of them: the old one, and the new one by the changed mapping."""
    orders = {
        name.removeprefix("orders/"): document
        for name, document in _table(dynamodb, table).items()
        if name.startswith("orders/")
    }
    changed = {
        name: {("amount" if field == "total_amount" else field): value for field, value in document.items()}
        for name, document in orders.items()
        if document["status"] != "returned"
    }
    verdicts = {old: Verdict(), new: Verdict()}
    for (index, verdict), expected in zip(verdicts.items(), (orders, changed), strict=True):
        found = read_index(url, index)
        for source in found.values():
            source.pop("viewed_at", None)
        _judge_index(verdict, expected, found)
    return verdicts


def _judge_index(verdict: Verdict, expected: dict[str, Any], found: dict[str, Any]) -> None:
    for name, document in expected.items():
        if name not in found:
            verdict.missing.append(name)
        elif found[name] != document:
            verdict.stale.append(name)
        else:
            verdict.items_equal += 1
    verdict.extra += sorted(found.keys() - expected.keys())


def _judge_archive(verdict: Verdict, expected: dict[str, Any], found: list[tuple[str, Any]]) -> None:
    verdict.changes, verdict.archived = len(expected), len(found)
    archived = dict(found)
    for name, images in expected.items():
        if name not in archived:
            verdict.not_archived.append(name)
        elif archived[name] != images:
            verdict.archived_otherwise.append(name)


def _table(dynamodb: DynamoDBClient, table: str) -> dict[str, Any]:
    """The document that each item should be: what mappings/shop.yml says, said once more in plain Python."""
    documents = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for raw in page["Items"]:
            item = {name: plain(value) for name, value in raw.items()}
            identifier = f"{quoted(item['pk'])}|{quoted(item['sk'])}"
            if item["sk"] == "PROFILE":
                item.pop("password_hash", None)
                documents[f"customers/{identifier}"] = item
            elif item["sk"].startswith("ORDER#"):
                item["total_amount"] = item.pop("total")
                item.pop("viewed_at", None)  # a change of this alone is not sent
                documents[f"orders/{identifier}"] = item
            elif item["status"] != "draft":
                documents[f"order-lines/{identifier}"] = item
    return documents


def quoted(part: str) -> str:
    """A part of a document's id."""
    return part.replace("%", "%25").replace("|", "%7C")


def plain(value: Any) -> Any:
    """Give the document's value of an attribute value (boto3's deserializer rounds numbers or refuses them)."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return Decimal(content)
        case "NULL":
            return None
        case "B":
            return base64.b64encode(content).decode()
        case "M":
            return {name: plain(inner) for name, inner in content.items()}
        case "L":
            return [plain(inner) for inner in content]
        case "SS":
            return sorted(content)
        case "NS":
            return sorted(map(Decimal, content))
        case "BS":
            return [base64.b64encode(member).decode() for member in sorted(content)]
    return content


def _indexed(url: str) -> dict[str, Any]:
    """Every document of the shop."""
    found: dict[str, Any] = {}
    for index in INDICES:
        for identifier, source in read_index(url, index).items():
            if index == "orders":
                source.pop("viewed_at", None)
            found[f"{index}/{identifier}"] = source
    return found


def read_index(url: str, index: str) -> dict[str, Any]:
    """Every document by its id, its numbers with all their digits, and with what was set aside in its place."""
    found: dict[str, Any] = {}
    _ask(f"{url}/{index}/_refresh", {})
    page = _ask(f"{url}/{index}/_search?scroll=1m", {"size": 1000})
    while page["hits"]["hits"]:
        found.update((hit["_id"], _whole(hit["_source"])) for hit in page["hits"]["hits"])
        page = _ask(f"{url}/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
    return found


def _whole(source: dict[str, Any]) -> dict[str, Any]:
    aside = source.pop("_cdc_aside", {})
    names = source.pop("_cdc_aside_names", [])
    if list(aside) != names or source.keys() & aside.keys():
        raise AssertionError(f"what is set aside is not what is named: {names}")
    return {**source, **aside}


def _ask(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310  (our own server)
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (our own server)
        return json.loads(answer.read(), parse_float=Decimal, parse_int=Decimal)


def read_stream(streams: DynamoDBStreamsClient, arn: str) -> dict[str, Any]:
    """Every record of the stream by GetRecords: keys and images by sequence number."""
    found: dict[str, Any] = {}
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator: str | None = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            page = streams.get_records(ShardIterator=iterator, Limit=1000)
            for record in page["Records"]:
                facts = record["dynamodb"]
                found[facts["SequenceNumber"]] = _images(
                    record["eventName"], facts["Keys"], facts.get("OldImage"), facts.get("NewImage")
                )
            if not page["Records"]:
                break
            iterator = page.get("NextShardIterator")
    return found


def _images(operation: str, keys: Any, before: Any, after: Any) -> Any:
    """In one notation, without what the archive leaves out."""
    images = []
    for image in (keys, before, after):
        kept = {name: value for name, value in (image or {}).items() if name != "password_hash"}
        images.append(
            json.loads(json.dumps(kept, default=lambda value: base64.b64encode(value).decode(), sort_keys=True))
        )
    return [operation, *images]


def read_objects(s3: S3Client, bucket: str, table: str) -> list[tuple[str, Any]]:
    """Every archived line; copies, which a crash may leave, are dropped by identity as readers do."""
    found: dict[str, tuple[str, Any]] = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"cdc/table={table}/"):
        for entry in page.get("Contents", ()):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            for line in gzip.decompress(body).decode().splitlines():
                archived = json.loads(line)
                about = archived["Metadata"]
                seen = archived.get("WithoutNewImage", archived)
                images = _images(about["Operation"]["S"], seen["Keys"], seen.get("OldImage"), seen.get("NewImage"))
                found[about["Identity"]["S"]] = (about["SequenceNumber"]["S"], images)
    return list(found.values())
