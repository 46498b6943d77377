"""Traffic: a shop's customers, orders and order lines, written as applications write them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.literals import StreamViewTypeType

__all__ = ["TABLE", "Traffic", "enable_stream", "fill", "make_table", "order_items", "profile_item"]

TABLE = "shop"
_BATCH = 25  # Amazon DynamoDB API Reference, "BatchWriteItem": 25 items at most

_CITIES = ("Zürich", "São Paulo", "東京", "Кейптаун", "Ålesund", "القاهرة", "New York")
_NAMES = ("Ada", "Grace", "Zoë", "李雷", "Jürgen", "Ngọc", "Siobhán", "Øyvind 🚲")
_to_dynamodb = TypeSerializer().serialize


def make_table(
    client: DynamoDBClient, name: str = TABLE, view: StreamViewTypeType | None = "NEW_AND_OLD_IMAGES"
) -> str:
    """Make a table with the keys `pk` and `sk` and a stream; return the stream's ARN, empty if there is no view."""
    stream: Any = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}} if view else {}
    description = client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        **stream,
    )
    return str(description["TableDescription"].get("LatestStreamArn", ""))


def enable_stream(client: DynamoDBClient, name: str = TABLE) -> str:
    """Switch the table's stream on; return its ARN."""
    description = client.update_table(
        TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    return str(description["TableDescription"]["LatestStreamArn"])


def fill(client: DynamoDBClient, customers: int, seed: int = 5) -> list[tuple[str, str]]:
    """Write customers with their orders to a table that has no stream yet; return the orders' keys."""
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    items: list[dict[str, Any]] = []
    orders: list[tuple[str, str]] = []
    for number in range(customers):
        customer = f"CUSTOMER#old-{number}"
        items.append(profile_item(chance, customer))
        for _ in range(chance.randrange(1, 4)):
            orders.append((customer, f"ORDER#{chance.randrange(10**9):09d}"))
            items += order_items(chance, *orders[-1])
    for start in range(0, len(items), _BATCH):
        requests: Any = _put_requests(items[start : start + _BATCH])
        while requests:
            requests = client.batch_write_item(RequestItems=requests).get("UnprocessedItems")
    return orders


@dataclass
class Traffic:
    """Writes for some seconds, from several threads; `written` counts the changes whose writes were answered.

    `per_second` bounds the changes of all threads together, so that whoever follows has time of the processor too.
    """

    client: DynamoDBClient
    seconds: float
    per_second: float = 600.0
    seed: int = 7
    threads: int = 3
    existing: Sequence[tuple[str, str]] = ()
    """Orders that are there already: they are changed and cancelled like new ones."""
    written: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = 0.0

    def start(self) -> list[Future[None]]:
        """Start the writers; a future ends when its writer does, or fails as it did."""
        until = time.monotonic() + self.seconds
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="traffic")
        chances = [random.Random(self.seed + number) for number in range(self.threads)]  # noqa: S311  (not a secret)
        writers = [pool.submit(self._write, chance, number, until) for number, chance in enumerate(chances)]
        pool.shutdown(wait=False)
        return writers

    def _write(self, chance: random.Random, writer: int, until: float) -> None:
        customers = [f"CUSTOMER#{writer}-{number}" for number in range(12)]
        self._put(*[profile_item(chance, customer) for customer in customers])
        orders: list[tuple[str, str]] = list(self.existing[writer :: self.threads])
        actions: list[Callable[[], None]] = [
            lambda: self._new_orders(chance, customers, orders),
            lambda: self._pay(chance, orders),
            lambda: self._burst(chance, orders),
            lambda: self._put(profile_item(chance, chance.choice(customers))),
            lambda: self._cancel(chance, orders),
            lambda: self._view(chance, orders),
        ]
        weights = [6, 5, 1, 2, 2, 2]
        while time.monotonic() < until and not self.stop.is_set():
            chance.choices(actions, weights)[0]()

    def _put(self, *items: dict[str, Any]) -> None:
        """Write items of different keys, 25 at most, in one request."""
        self._wait_for(len(items))
        requests: Any = _put_requests(items)
        while requests:
            requests = self.client.batch_write_item(RequestItems=requests).get("UnprocessedItems")
        self._count(len(items))

    def _update(self, key: tuple[str, str], expression: str, names: dict[str, str], values: dict[str, Any]) -> None:
        self._wait_for(1)
        self.client.update_item(
            TableName=TABLE,
            Key=_key(key),
            UpdateExpression=expression,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={name: _to_dynamodb(value) for name, value in values.items()},
        )
        self._count()

    def _delete(self, key: tuple[str, str]) -> None:
        self._wait_for(1)
        self.client.delete_item(TableName=TABLE, Key=_key(key))
        self._count()

    def _wait_for(self, changes: int) -> None:
        """Wait until so many changes may be written."""
        with self._lock:
            begin = max(time.monotonic() - 1, self._next)  # a second's delay is made up for, no more
            self._next = begin + changes / self.per_second
        self.stop.wait(max(0.0, begin - time.monotonic()))

    def _count(self, changes: int = 1) -> None:
        with self._lock:
            self.written += changes

    def _new_orders(self, chance: random.Random, customers: list[str], orders: list[tuple[str, str]]) -> None:
        items: list[dict[str, Any]] = []
        for _ in range(chance.randrange(1, 7)):
            order = (chance.choice(customers), f"ORDER#{chance.randrange(10**9):09d}")
            orders.append(order)
            items += order_items(chance, *order)
        self._put(*items)

    def _pay(self, chance: random.Random, orders: list[tuple[str, str]]) -> None:
        if orders:
            self._update(
                chance.choice(orders),
                "SET #status = :status, #total = :total",
                {"#status": "status", "#total": "total"},
                {":status": chance.choice(["paid", "sent", "returned"]), ":total": Decimal(chance.randrange(10**5))},
            )

    def _burst(self, chance: random.Random, orders: list[tuple[str, str]]) -> None:
        """Several changes of one item within a second: only the last may stand."""
        if orders:
            order = chance.choice(orders)
            for step in range(8):
                self._update(order, "SET #step = :step", {"#step": "step"}, {":step": step})

    def _view(self, chance: random.Random, orders: list[tuple[str, str]]) -> None:
        if orders:
            self._update(
                chance.choice(orders),
                "SET #viewed = :viewed",
                {"#viewed": "viewed_at"},
                {":viewed": chance.randrange(10**9)},
            )

    def _cancel(self, chance: random.Random, orders: list[tuple[str, str]]) -> None:
        if len(orders) > 3:
            self._delete(orders.pop(chance.randrange(len(orders))))


def _put_requests(items: Sequence[dict[str, Any]]) -> Any:
    return {
        TABLE: [{"PutRequest": {"Item": {name: _to_dynamodb(value) for name, value in item.items()}}} for item in items]
    }


def _key(key: tuple[str, str]) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def order_items(chance: random.Random, customer: str, key: str) -> list[dict[str, Any]]:
    """An order and its lines: four items at most."""
    order = {
        "pk": customer,
        "sk": key,
        "status": "open",
        "total": Decimal(chance.randrange(10**6)).scaleb(-2),
        "invoice": Decimal(chance.randrange(10**37, 10**38)),
        "placed_at": "2026-01-15T09:30:00Z",
        "gift": chance.random() < 0.3,
        "note": None if chance.random() < 0.5 else "leave at the door ✉",
    }
    lines = [
        {
            "pk": customer,
            "sk": f"LINE#{key.removeprefix('ORDER#')}#{line}",
            "status": chance.choice(["draft", "confirmed"]),
            "sku": f"A|{chance.randrange(1000)}%",
            "quantity": chance.randrange(1, 9),
            "weight": Decimal("1E-20") * chance.randrange(1, 100),
        }
        for line in range(chance.randrange(1, 4))
    ]
    return [order, *lines]


def profile_item(chance: random.Random, customer: str) -> dict[str, Any]:
    """Every attribute type."""
    name, password = chance.choice(_NAMES), f"{chance.getrandbits(128):032x}"
    return {
        "pk": customer,
        "sk": "PROFILE",
        "name": name,
        "password_hash": password,
        "credit": Decimal(chance.randrange(-(10**9), 10**9)).scaleb(-4),
        "huge": Decimal("9.9999999999999999999999999999999999999E+125"),
        "tiny": Decimal("-1E-130"),
        "active": chance.random() < 0.9,
        "referrer": None,
        "photo": chance.randbytes(24),
        "address": {
            "city": chance.choice(_CITIES),
            "S": "an attribute named S",
            "geo": [Decimal("47.37"), Decimal("8.54")],
        },
        "history": [1, Decimal("2.50"), [Decimal("3.0"), None]],
        "tags": set(chance.sample(["vip", "blue", "gift", "später"], 2)),
        "sizes": {Decimal(10), Decimal(9), Decimal("1.5")},
        "prints": {b"\x00", b"\xff\xfe"},
        **_odd(random.Random(password)),  # noqa: S311  (not a secret)
    }


def _odd(chance: random.Random) -> dict[str, Any]:
    """Attributes that an index takes only if they come first: a map here and a text there, names of its own."""
    return {
        "preferences": chance.choice(["none", {}, {"news": True}, {"news": "weekly"}, ["news", 7], True]),
        "logins": {f"device-{chance.randrange(400)}": chance.choice([1, "never"])},
        **({"_version": chance.randrange(9)} if chance.random() < 0.5 else {}),
    }
