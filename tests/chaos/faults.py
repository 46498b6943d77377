"""The faults: each strikes while the table is written, is seen to have struck, and is over when it returns."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cdc.testing import Delayed, HalfAnswer, ProxyFault, Reset
from tests.chaos.consumer import Consumer, Deployment
from tests.chaos.load import Load

__all__ = ["CONSUMER_KILLED", "FAULTS", "HUNDRED_WRITES", "Fault", "Struck", "ask"]

_SIGN = r"(opensearch|archive): attempt \d+|is held"
"""The words that a consumer logs when a sink fails."""


@dataclass
class Struck:
    """The processes that faults strike. `first` runs; `second` does not, unless the fault starts it."""

    deployment: Deployment
    load: Load
    first: Consumer
    second: Consumer

    @property
    def opensearch(self) -> str:
        """Its URL."""
        return self.deployment.world.opensearch.url


@dataclass(frozen=True)
class Fault:
    """`strike` returns when it is over and what it wanted to show has been seen."""

    name: str
    strike: Callable[[Struck], None]


Outage = Callable[[Struck], AbstractContextManager[Callable[[], None]]]
"""A sink fails within the block; what it gives returns when the consumer has met the failure."""


def _alone(outage: Outage) -> Callable[[Struck], None]:
    def strike(struck: Struck) -> None:
        with outage(struck) as is_met:
            is_met()

    return strike


def _and_killed(outage: Outage) -> Callable[[Struck], None]:
    """The consumer is killed in the middle, with what it holds, and started when the outage is over."""

    def strike(struck: Struck) -> None:
        with outage(struck) as is_met:
            is_met()
            struck.first.kill()
        struck.first.start()

    return strike


def _met(struck: Struck) -> Callable[[], None]:
    mark = struck.first.mark()
    return lambda: struck.first.await_log(_SIGN, mark)


# --- the consumer


def _consumer_killed(struck: Struck) -> None:
    struck.first.kill()
    struck.first.start()


def _handed_over(struck: Struck) -> None:
    """Two for a while, then the first ends in order."""
    struck.second.start()
    struck.first.await_progress(200)
    assert struck.first.stop() == 0
    struck.second.await_progress(200)


def _zombie(struck: Struck) -> None:
    """The one that reads is frozen until the other has taken its lease and read on; then it goes on."""
    zombie, successor = struck.second, struck.first  # the first leads: the lock of a frozen leader lasts two minutes
    zombie.start()
    struck.deployment.assign_lease(zombie.worker)
    zombie.await_progress(200)
    mark = zombie.mark()
    zombie.freeze()
    successor.await_progress(200)
    zombie.thaw()
    zombie.await_log("the lease of .* is lost", mark)


# --- OpenSearch


@contextmanager
def _opensearch_killed(struck: Struck) -> Iterator[Callable[[], None]]:
    is_met = _met(struck)
    struck.deployment.world.opensearch.process.kill()
    try:
        yield is_met
    finally:
        struck.deployment.world.start_opensearch_again()


@contextmanager
def _opensearch_restarted(struck: Struck) -> Iterator[Callable[[], None]]:
    is_met = _met(struck)
    struck.deployment.world.opensearch.stop()
    try:
        yield is_met
    finally:
        struck.deployment.world.start_opensearch_again()


@contextmanager
def _opensearch_frozen(struck: Struck) -> Iterator[Callable[[], None]]:
    """For longer than the client's timeout: what it was sent may be written when it thaws."""
    is_met = _met(struck)
    server = struck.deployment.world.opensearch.process.server
    server.suspend()
    try:
        yield is_met
    finally:
        server.resume()


def _blocked(setting: str) -> Outage:
    @contextmanager
    def outage(struck: Struck) -> Iterator[Callable[[], None]]:
        is_met = _met(struck)
        _set(struck, {setting: True})
        try:
            yield is_met
        finally:
            _set(struck, {setting: None})

    return outage


@contextmanager
def _queue_full(struck: Struck) -> Iterator[Callable[[], None]]:
    """Others write so much that the server refuses work."""
    is_met = _met(struck)
    enough = threading.Event()
    body = "".join(f'{{"index":{{}}}}\n{{"n":{n},"text":"{"x " * 40}"}}\n' for n in range(400)).encode()

    def press() -> None:
        while not enough.is_set():
            with suppress(urllib.error.HTTPError):  # it may refuse whole requests of ours too
                ask(f"{struck.opensearch}/pressure/_bulk?filter_path=errors", "POST", body, "application/x-ndjson")

    with ThreadPoolExecutor(6, thread_name_prefix="pressure") as pool:
        pressing = [pool.submit(press) for _ in range(6)]
        try:
            yield is_met
        finally:
            enough.set()
            wait(pressing)
            ask(f"{struck.opensearch}/pressure", "DELETE")


def _set(struck: Struck, settings: dict[str, Any]) -> None:
    url = f"{struck.opensearch}/{struck.deployment.concrete_index}/_settings"
    ask(url, "PUT", json.dumps(settings).encode())


def ask(url: str, method: str, body: bytes | None = None, content: str = "application/json") -> None:
    """Ask OpenSearch without the client that is used by what is judged."""
    request = urllib.request.Request(url, body, {"Content-Type": content}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


# --- S3


def _s3(fault: ProxyFault, times: int) -> Outage:
    """Half of the requests to S3 fail in one way, until so many have."""

    @contextmanager
    def outage(struck: Struck) -> Iterator[Callable[[], None]]:
        proxy = struck.deployment.world.proxy
        wanted = proxy.struck[type(fault).__name__] + times

        def is_met() -> None:
            struck.first.until(lambda: proxy.struck[type(fault).__name__] >= wanted, f"{times} times {fault}")

        with proxy.injecting(fault, share=0.5):
            yield is_met

    return outage


# --- the table


def _stream_anew(struck: Struck) -> None:
    """The stream is disabled and enabled again while nobody writes (what is written between is in no stream), and
    the running consumer finds the new one by itself."""
    deployment, dynamodb = struck.deployment, struck.deployment.world.client("dynamodb")
    first_minute = deployment.streams[0].rsplit("/", 1)[1][:16]
    # two streams of one minute can't be told apart, and are refused
    struck.first.until(lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M") > first_minute, "another minute")
    mark = struck.first.mark()
    with struck.load.paused():
        dynamodb.update_table(TableName=deployment.name, StreamSpecification={"StreamEnabled": False})
        enabled = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        description = dynamodb.update_table(TableName=deployment.name, StreamSpecification=enabled)["TableDescription"]
        deployment.streams.append(description["LatestStreamArn"])
    struck.first.await_log(f"reading .* of the stream {deployment.streams[-1].rpartition('/')[2]}", mark)


def _hundred_writes(struck: Struck) -> None:
    """One item is written 100 times within a second, the consumer killed in the middle; and again while it resumes."""
    dynamodb = struck.deployment.world.client("dynamodb")
    item = {"pk": {"S": "the one"}, "sk": {"S": "x"}}
    half = threading.Event()

    def write(number: int) -> None:
        dynamodb.put_item(TableName=struck.deployment.name, Item={**item, "n": {"N": str(number)}})
        if number >= 50:
            half.set()

    for numbers in (range(100), range(100, 200)):
        half.clear()
        with struck.load.paused(), ThreadPoolExecutor(8, thread_name_prefix="hundred") as pool:
            writing = [pool.submit(write, number) for number in numbers]
            assert half.wait(60)
            struck.first.kill()
        for one in writing:
            one.result()
        struck.first.start()


_OUTAGES: dict[str, Outage] = {
    "kill -9 of OpenSearch": _opensearch_killed,
    "clean restart of OpenSearch": _opensearch_restarted,
    "OpenSearch frozen": _opensearch_frozen,
    "write queue full": _queue_full,
    "disk full": _blocked("index.blocks.read_only_allow_delete"),
    "index read-only": _blocked("index.blocks.write"),
    "S3: resets": _s3(Reset(), 4),
    "S3: delays": _s3(Delayed(1.5), 3),
    "S3: half answers": _s3(HalfAnswer(), 4),
}

CONSUMER_KILLED = Fault("kill -9 of the consumer", _consumer_killed)
HUNDRED_WRITES = Fault("one item 100 times, killed", _hundred_writes)
FAULTS = (
    CONSUMER_KILLED,
    Fault("two consumers, handed over", _handed_over),
    Fault("frozen consumer wakes as a zombie", _zombie),
    *(Fault(name, _alone(outage)) for name, outage in _OUTAGES.items()),
    Fault("stream disabled and enabled", _stream_anew),
    HUNDRED_WRITES,
    *(Fault(f"{name}, consumer killed in it", _and_killed(outage)) for name, outage in _OUTAGES.items()),
)
