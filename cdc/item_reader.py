"""The item as it stands now: consistent reads, for streams whose records carry no image, and for redrive."""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import tenacity

from cdc.aws_errors import translated
from cdc.causes import CauseKind
from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.records.attributes import RawItem
from cdc.records.identity import keys_digest

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

__all__ = ["DynamoDBItems", "ItemReader", "for_boto3"]

_KEYS_PER_READ = 100  # Amazon DynamoDB API Reference, "BatchGetItem": 100 items and 16 MB at most


class ItemReader(Protocol):
    """The items of tables as they stand now."""

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        """The item of each key as DynamoDB JSON (binary as bytes), None where there is none; consistent.

        Raises:
            SinkUnavailable: some could not be read; none is given.
        """
        ...


@dataclass(frozen=True)
class DynamoDBItems:
    """Items read by consistent BatchGetItem; unprocessed keys are asked for again until the deadline."""

    client: DynamoDBClient
    sleep: Callable[[float], None] = time.sleep
    needs_seconds: float = 0.0
    """How long one request may take: none is begun with less time left."""

    def read(self, table: str, keys: Sequence[RawItem], deadline: Deadline) -> Sequence[RawItem | None]:
        """See `ItemReader.read`."""
        wanted = {keys_digest(key): for_boto3(key) for key in keys}
        names = tuple(keys[0]) if keys else ()
        found: dict[str, RawItem] = {}
        digests = list(wanted)
        for start in range(0, len(digests), _KEYS_PER_READ):
            for item in self._batch(
                table, [wanted[digest] for digest in digests[start : start + _KEYS_PER_READ]], deadline
            ):
                found[keys_digest({name: item[name] for name in names})] = item
        return [found.get(keys_digest(key)) for key in keys]

    def _batch(self, table: str, keys: list[Any], deadline: Deadline) -> list[RawItem]:
        found: list[RawItem] = []
        pending = keys

        in_time = deadline.earlier(self.needs_seconds)

        def ask() -> int:
            nonlocal pending
            if in_time.expired:
                text = f"{len(pending)} items of {table} can't be read: the deadline has passed"
                raise SinkUnavailable("table", text, kind=CauseKind.DEADLINE)
            page = self._asked(table, pending)
            found.extend(page["Responses"].get(table, ()))
            pending = page["UnprocessedKeys"].get(table, {}).get("Keys", [])
            return len(pending)

        left = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda count: count > 0),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=5),
            stop=lambda state: in_time.remaining_seconds <= state.upcoming_sleep,
            sleep=self.sleep,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else 0,
        )(ask)
        if left:
            text = f"{left} items of {table} can't be read yet: it is throttled"
            raise SinkUnavailable("table", text, kind=CauseKind.OVERLOADED)
        return found

    def _asked(self, table: str, keys: list[Any]) -> Any:
        remedy = f"Allow dynamodb:BatchGetItem on {table}, and check that it is there."
        with translated("table", f"items of {table} can't be read", remedy, quotes=False):
            return self.client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})


def for_boto3(key: RawItem) -> dict[str, Any]:
    """Binary as bytes: boto3 would encode base64 text once more."""
    return {
        name: {"B": b64decode(value["B"])} if isinstance(value.get("B"), str) else dict(value)
        for name, value in key.items()
    }
