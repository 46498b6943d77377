"""The verdict of a round, by AWS's and OpenSearch's plain APIs: table against index, streams against archive.

Only `order_as_read` asks the product's own reader: that what it reads is each change once, in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cdc.archive import read_archive
from local.demo.judge import plain, quoted, read_index, read_objects, read_stream
from tests.chaos.consumer import Deployment

__all__ = ["Expected", "Verdict", "expected_of", "judge"]


@dataclass(frozen=True)
class Expected:
    """The contents that must be found once the writers have stopped: documents by id, changes by sequence number."""

    documents: dict[str, Any]
    changes: dict[str, Any]


@dataclass
class Verdict:
    """The things that were compared, and what differs."""

    documents: int
    changes: int
    differences: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Is everything as it should be?"""
        return not self.differences

    def __str__(self) -> str:
        if self.is_good:
            return f"{self.documents} documents equal, {self.changes} changes archived, each once"
        return f"{len(self.differences)} differences"


def expected_of(deployment: Deployment) -> Expected:
    """Read the table and all its streams. Nothing may be written meanwhile."""
    documents = {}
    pages = deployment.world.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(TableName=deployment.name, ConsistentRead=True):
        for raw in page["Items"]:
            item = {name: plain(value) for name, value in raw.items()}
            documents[f"{quoted(item['pk'])}|{quoted(item['sk'])}"] = item
    changes: dict[str, Any] = {}
    for stream in deployment.streams:
        records = read_stream(deployment.world.client("dynamodbstreams"), stream)
        assert not changes.keys() & records.keys(), "the engine counts over all streams, so no number comes twice"
        changes |= records
    return Expected(documents, changes)


def judge(deployment: Deployment, expected: Expected, *, order_as_read: bool = False) -> Verdict:
    """Compare what is there with what is expected."""
    s3 = deployment.world.client("s3")
    verdict = Verdict(len(expected.documents), len(expected.changes))
    indexed = read_index(deployment.world.opensearch.url, deployment.name)
    archived = read_objects(s3, deployment.name, deployment.name)
    note = verdict.differences.append
    for name in sorted(expected.documents.keys() | indexed.keys()):
        if expected.documents.get(name) != indexed.get(name):
            note(f"document {name}: table {_said(expected.documents, name)}, index {_said(indexed, name)}")
    by_sequence = dict(archived)
    for sequence in sorted(expected.changes.keys() | by_sequence.keys()):
        if expected.changes.get(sequence) != by_sequence.get(sequence):
            kind = "otherwise" if sequence in by_sequence and sequence in expected.changes else "only"
            place = "archive" if sequence in by_sequence else "stream"
            note(f"change {sequence}: {place} {kind}")
    if len(archived) != len(by_sequence):
        note(f"{len(archived) - len(by_sequence)} changes are archived under two identities")
    letters = s3.list_objects_v2(Bucket=deployment.name, Prefix="dead-letters")
    verdict.differences += [f"dead letter {entry['Key']}" for entry in letters.get("Contents", ())]
    if order_as_read:
        as_read = [int(change.sequence) for change in read_archive(s3, deployment.name, "cdc", deployment.name)]
        if as_read != sorted(map(int, expected.changes)):
            note(f"the archive reads as {len(as_read)} changes, not each once in order")
    return verdict


def _said(documents: dict[str, Any], name: str) -> str:
    return f"n={documents[name].get('n')}" if name in documents else "has none"
