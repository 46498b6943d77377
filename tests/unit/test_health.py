"""Health: alive while it can go on by itself, ready while changes get on, and what is wrong is said."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from opensearchpy.exceptions import AuthorizationException, ConnectionTimeout, TransportError
from starlette.applications import Starlette

from cdc.delivery.consumer_state import Running, ShardStatus
from cdc.errors import CdcError, ConfigError
from cdc.testing import SimulatedClock
from consumers.exit_codes import exit_code_of
from consumers.http.app import application
from consumers.http.health import Health
from consumers.http.monitoring import service_of
from consumers.http.probes import Problem, SinkProbes, check_once, probes_of
from consumers.http.server import serving
from consumers.runtime import Runtime, open_runtime
from consumers.settings import load_settings

CLOSED = "OpenSearch: 400 index_closed_exception"


class World:
    """A consumer that reads one shard, as its health sees it."""

    def __init__(self) -> None:
        self.clock = SimulatedClock()
        self.running = Running(clock=self.clock)
        self.shard = ShardStatus("arn", "shard-1", "shop", since=self.clock())
        self.running.shards["arn", "shard-1"] = self.shard
        self.runs = True
        self.running.alive = lambda: self.runs
        self.unreachable: dict[str, str] = {}
        self.unclaimed: int | None = None
        health = Health(
            self.running, lambda: self.unreachable, lambda: self.unclaimed, degraded_after_seconds=60, now=self.clock
        )
        self.app = application(health, lambda: b"cdc_leases_held 1.0\n")

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        answer = asked(self.app, path)
        return answer.status_code, answer.json()

    @property
    def state(self) -> tuple[int, str]:
        status, body = self.get("/readyz")
        return status, body["state"]


def asked(app: Starlette, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://consumer") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_a_consumer_that_reads_and_reaches_its_sinks_is_ready() -> None:
    world = World()
    assert world.get("/readyz") == (200, {"state": "ready", "shards": 1, "degraded": [], "unreachable": {}})
    assert world.get("/healthz") == (200, {"state": "alive"})


def test_a_shard_that_is_held_for_longer_than_the_threshold_is_degraded_and_says_on_what_and_since_when() -> None:
    world = World()
    world.shard.hold(CLOSED, world.clock())
    world.clock.sleep(59)
    assert world.state == (200, "ready")
    world.clock.sleep(1)
    status, body = world.get("/readyz")
    assert (status, body["state"]) == (503, "degraded")
    assert body["degraded"] == [
        {
            "table": "shop",
            "shard": "shard-1",
            "held_on": CLOSED,
            "since": "2026-01-15T09:30:00+00:00",
            "seconds": 60,
        }
    ]
    world.shard.go_on()
    assert world.state == (200, "ready")


def test_another_attempt_in_vain_does_not_begin_the_wait_anew() -> None:
    world = World()
    world.shard.hold(CLOSED, world.clock())
    world.clock.sleep(50)
    world.shard.hold("OpenSearch: 503 http", world.clock())
    world.clock.sleep(10)
    assert world.get("/readyz")[1]["degraded"][0]["held_on"] == "OpenSearch: 503 http"


def test_a_degraded_consumer_is_alive_for_to_start_it_anew_helps_nobody() -> None:
    world = World()
    world.shard.hold(CLOSED, world.clock())
    world.clock.sleep(3600)
    world.unreachable["opensearch"] = "out of reach: ConnectionError"
    assert world.get("/healthz")[0] == 200


def test_a_sink_that_does_not_answer_is_named() -> None:
    world = World()
    world.unreachable["archive"] = "there is no bucket x"
    status, body = world.get("/readyz")
    assert (status, body["state"]) == (503, "unreachable")
    assert body["unreachable"] == {"archive": "there is no bucket x"}


def test_a_failure_that_was_noted_is_neither_alive_nor_ready_and_its_text_is_not_told() -> None:
    world = World()
    world.running.fail(ValueError("an item's secret"))
    assert world.get("/healthz") == (503, {"state": "failed", "failure": "ValueError"})
    assert world.state == (503, "failed")


def test_a_scheduler_that_has_ended_is_not_alive() -> None:
    world = World()
    world.runs = False
    assert world.get("/healthz")[0] == 503
    assert world.state == (503, "failed")


def test_before_the_scheduler_starts_the_process_is_alive_and_not_ready() -> None:
    world = World()
    world.running.alive = None
    assert world.get("/healthz")[0] == 200
    assert world.state == (503, "starting")


def test_a_stop_is_alive_to_its_end_and_not_ready() -> None:
    world = World()
    world.running.ask_stop()
    world.runs = False
    assert world.get("/healthz")[0] == 200
    assert world.state == (503, "stopping")


@pytest.mark.parametrize(("unclaimed", "expected"), [(0, (200, "ready")), (3, (503, "waiting for shards"))])
def test_a_worker_without_shards_is_ready_where_others_read_them_all(unclaimed: int, expected: tuple[int, str]) -> None:
    world = World()
    world.running.shards.clear()
    assert world.state == (503, "waiting for shards")
    world.unclaimed = unclaimed
    assert world.state == expected


def test_the_metrics_are_text() -> None:
    answer = asked(World().app, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert answer.text == "cdc_leases_held 1.0\n"


def test_nothing_is_known_of_sinks_before_the_first_look_and_of_an_old_one() -> None:
    clock = SimulatedClock()
    reach = SinkProbes({"opensearch": lambda: None, "archive": lambda: Problem("it answers 503")}, clock=clock)
    assert set(reach.unreachable()) == {"opensearch", "archive"}
    reach.look()
    assert reach.unreachable() == {"archive": "it answers 503"}
    clock.sleep(121)
    assert reach.unreachable()["opensearch"] == "the last look is 121 s old"


def test_a_lease_table_that_does_not_answer_leaves_what_is_known_of_the_sinks() -> None:
    reach = SinkProbes({"opensearch": lambda: None}, refusing(ValueError("no lease table")))
    with pytest.raises(ValueError, match="no lease table"):
        reach.look()
    assert reach.unreachable() == {}
    assert reach.unclaimed_shards() is None


def test_looks_go_on_though_one_of_them_breaks(caplog: pytest.LogCaptureFixture) -> None:
    looks = threading.Semaphore(0)
    stop = threading.Event()

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return stop.is_set()

    def probe() -> None:
        looks.release()
        raise ValueError("a fault of ours")

    SinkProbes({"opensearch": probe}).start(Impatient())
    assert all(looks.acquire(timeout=30) for _ in range(3))
    stop.set()
    assert "can't be looked at: ValueError" in caplog.text


def refusing(error: Exception) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> None:
        raise error

    return refuse


def client_error(status: int) -> ClientError:
    return ClientError({"ResponseMetadata": {"HTTPStatusCode": status}}, "HeadBucket")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (client_error(404), "there is no bucket archive"),
        (client_error(403), ""),
        (client_error(503), "it answers 503"),
        (EndpointConnectionError(endpoint_url="http://nobody"), "out of reach: EndpointConnectionError"),
    ],
    ids=["none", "denied", "down", "away"],
)
def test_a_bucket_is_reached_unless_it_is_away(monkeypatch: pytest.MonkeyPatch, error: Exception, seen: str) -> None:
    runtime = opened(monkeypatch, head_bucket=refusing(error))
    probes = probes_of(runtime.clients, runtime.settings)
    assert set(probes) == {"opensearch", "archive", "dead letters"}
    assert text_of(probes["archive"]()) == seen
    assert bool(probes["dead letters"]()) == bool(seen)


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (AuthorizationException(403, "security_exception", {}), ""),
        (TransportError(503, "busy", {}), "it answers 503"),
        (ConnectionTimeout("N/A", "x", Exception()), "out of reach: ConnectionTimeout"),
    ],
    ids=["denied", "down", "away"],
)
def test_an_index_is_reached_unless_it_is_away(monkeypatch: pytest.MonkeyPatch, error: Exception, seen: str) -> None:
    runtime = opened(monkeypatch)
    assert runtime.clients.opensearch is not None
    monkeypatch.setattr(runtime.clients.opensearch.transport, "perform_request", refusing(error))
    assert text_of(probes_of(runtime.clients, runtime.settings)["opensearch"]()) == seen


def text_of(problem: Problem | None) -> str:
    return "" if problem is None else problem.text


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (client_error(404), r"there is no bucket archive\n  → Set CDC_ARCHIVE_BUCKET to .*aws s3 mb s3://archive", 2),
        (client_error(301), "the bucket archive is in another region", 2),
        (client_error(503), "it answers 503", 1),
        (EndpointConnectionError(endpoint_url="http://nobody"), "out of reach: EndpointConnectionError", 1),
    ],
    ids=["none", "of another region", "down", "away"],
)
def test_a_wrong_bucket_is_another_matter_at_the_start_than_one_that_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str, code: int
) -> None:
    runtime = opened(monkeypatch, head_bucket=refusing(error))
    probes = probes_of(runtime.clients, runtime.settings)
    del probes["opensearch"]
    with pytest.raises(CdcError, match=expected) as raised:
        check_once(probes)
    assert exit_code_of(raised.value) == code


def test_a_start_goes_on_where_every_sink_answers_or_denies_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = opened(monkeypatch, head_bucket=refusing(client_error(403)))
    probes = probes_of(runtime.clients, runtime.settings)
    del probes["opensearch"]
    check_once(probes)


def opened(monkeypatch: pytest.MonkeyPatch, **s3: Callable[..., Any]) -> Runtime:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    environment = {
        "CDC_MAPPINGS": "mappings",
        "CDC_OPENSEARCH_ENDPOINT": "http://127.0.0.1:9",
        "CDC_ARCHIVE_BUCKET": "archive",
        "CDC_DEAD_LETTER_BUCKET": "letters",
        "CDC_DEAD_LETTER_QUEUE_URL": "http://queue",
    }
    runtime = open_runtime(load_settings(environment))
    assert runtime.clients.letters is not None
    for name, method in s3.items():
        monkeypatch.setattr(runtime.clients.archive, name, method)
        monkeypatch.setattr(runtime.clients.letters.client, name, method)
    return runtime


def test_the_pages_are_served_on_a_thread_until_the_block_ends_and_signals_stay_as_they_are() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with serving(application(Health(Running(), dict), lambda: b"x"), "127.0.0.1", 0) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/metrics").text == "x"
        assert httpx.get(f"http://127.0.0.1:{port}/nothing").status_code == 404
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        app = application(Health(Running(), dict), lambda: b"")
        with (
            pytest.raises(ConfigError, match=rf"the port {port} of 127.0.0.1 is in use"),
            serving(app, "127.0.0.1", port),
        ):
            pass


def test_a_host_that_is_none_is_one_clear_error() -> None:
    app = application(Health(Running(), dict), lambda: b"")
    with pytest.raises(ConfigError, match="CDC_HTTP_HOST"), serving(app, "no.such.host.invalid", 0):
        pass


@pytest.mark.parametrize(("port", "expected"), [("", "none"), ("9464", "pip install '.[service]'")])
@pytest.mark.parametrize("missing", ["prometheus_client", "starlette", "uvicorn"])
def test_the_extra_is_needed_only_where_a_port_is_set(port: str, expected: str, missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
from cdc.errors import ConfigError
from consumers.settings import load_settings
from cdc.delivery.consumer_state import Running
from consumers.http.monitoring import service_of
from consumers.runtime import open_runtime
import consumers.cli.main
settings = load_settings({{"CDC_MAPPINGS": "none", "CDC_HTTP_PORT": {port!r}, "CDC_ARCHIVE_BUCKET": "a"}})
try:
    with service_of(settings, Running()).serving(open_runtime(settings).clients):
        print("none")
except ConfigError as error:
    print(error)
"""
    environment = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert expected in done.stdout
    assert (missing in done.stdout) == (expected != "none")


def test_without_a_port_nobody_watches(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    service = service_of(load_settings({"CDC_MAPPINGS": "none"}), Running())
    before = threading.active_count()
    with service.serving(clients=None):  # type: ignore[arg-type]
        assert threading.active_count() == before
    assert "health and metrics" not in caplog.text
