"""`python -m local.compose.init`: the demo's table, buckets and queue, made where they are missing.

The servers of AWS keep nothing when they are taken down, OpenSearch keeps the index. So where the table is missing,
what the index holds of an earlier one is said, and removed unless `KEEP_OLD_DOCUMENTS` is set: no change of the new
table would ever take it out.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from local.demo.traffic import TABLE, make_table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient

__all__ = ["BUCKETS", "QUEUE", "OldIndex", "make_bucket", "old_indices", "set_up_table"]

BUCKETS = ("lake", "dead-letters")
QUEUE = "dead-letters"

_REMEDY = "start it first by `docker compose up`, or without LocalStack by `docker compose --profile engine up`"


class OldIndex:
    """An index that remembers the demo's table: its name, how many documents it has, which other tables write to it."""

    def __init__(self, name: str, documents: int, others: Sequence[str]) -> None:
        self.name = name
        self.documents = documents
        self.others = tuple(others)


def old_indices(opensearch: str, table: str = TABLE) -> list[OldIndex]:
    """The indices that hold documents of a table of this name: each remembers its tables in its mapping."""
    found = []
    for name, facts in ask(opensearch, "/_mapping").items():
        tables = facts.get("mappings", {}).get("_meta", {}).get("cdc", {}).get("tables", {})
        if table in tables:
            count = ask(opensearch, f"/{name}/_count")["count"]
            found.append(OldIndex(name, count, sorted(tables.keys() - {table})))
    return found


def remove_old_documents(opensearch: str, *, keep: bool) -> None:
    """Remove what earlier tables left, and say it; with `keep`, or where other tables share the index, say it only."""
    for index in old_indices(opensearch):
        of_old = f"{index.name} holds {index.documents} documents of an earlier table {TABLE!r}, which is gone"
        if keep:
            print(f"{of_old}: kept, as KEEP_OLD_DOCUMENTS asks", flush=True)
        elif index.others:
            print(f"{of_old}: kept, since {', '.join(index.others)} write to it too", flush=True)
        else:
            ask(opensearch, f"/{index.name}", method="DELETE")
            print(f"{of_old}: removed (KEEP_OLD_DOCUMENTS=1 keeps them)", flush=True)


def set_up_table(dynamodb: DynamoDBClient, opensearch: str, *, keep: bool) -> None:
    """Make the table, with a few items in it, unless it is there.

    What is old goes first: if this ends in between, it is done the next time.
    """
    if TABLE in dynamodb.list_tables()["TableNames"]:
        print(f"the table {TABLE} is there", flush=True)
        return
    remove_old_documents(opensearch, keep=keep)
    make_table(dynamodb)
    for item in _items():
        dynamodb.put_item(TableName=TABLE, Item=item)
    print(f"the table {TABLE} is made, with a new stream and {len(_items())} items", flush=True)


def make_bucket(s3: S3Client, name: str) -> None:
    """Make a bucket unless it is there."""
    if all(bucket.get("Name") != name for bucket in s3.list_buckets()["Buckets"]):
        s3.create_bucket(Bucket=name)
        print(f"the bucket {name} is made", flush=True)


def make_queue(sqs: SQSClient, name: str) -> None:
    """Make a queue; SQS answers with the one that is there."""
    sqs.create_queue(QueueName=name)


def ask(opensearch: str, path: str, method: str = "GET") -> Any:
    """OpenSearch's answer."""
    request = urllib.request.Request(f"{opensearch}{path}", method=method)  # noqa: S310  (our own server)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  (our own server)
        return json.loads(answer.read())


def _items() -> list[dict[str, Any]]:
    """Three customers, an order each, and its lines."""
    from boto3.dynamodb.types import TypeSerializer

    serialize = TypeSerializer().serialize
    items: list[dict[str, Any]] = []
    for number, (name, city) in enumerate((("Ada", "Zürich"), ("Zoë", "São Paulo"), ("李雷", "東京"))):
        customer, order = f"CUSTOMER#first-{number}", f"{number:09d}"
        items += [
            {"pk": customer, "sk": "PROFILE", "name": name, "address": {"city": city}, "tags": {"vip", "first"}},
            {"pk": customer, "sk": f"ORDER#{order}", "status": "paid", "total": Decimal("1999.90") + number},
            {"pk": customer, "sk": f"LINE#{order}#0", "status": "confirmed", "sku": "A|1%", "quantity": 1 + number},
        ]
    return [{name: serialize(value) for name, value in item.items()} for item in items]


def main() -> int:
    """Set up what is missing; 1, with a line, if a server does not do as asked."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

    opensearch, keep = os.environ["OPENSEARCH"], bool(os.environ.get("KEEP_OLD_DOCUMENTS"))
    try:
        for name in BUCKETS:
            make_bucket(boto3.client("s3"), name)
        make_queue(boto3.client("sqs"), QUEUE)
        set_up_table(boto3.client("dynamodb"), opensearch, keep=keep)
    except EndpointConnectionError as error:
        print(f"error: {error}: {_REMEDY}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, urllib.error.URLError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
