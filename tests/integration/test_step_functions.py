"""A load on Step Functions, end to end on an engine that runs state machines: units that fail are loaded on."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from consumers.aws_lambda.load import LoadFunction
from consumers.loading import open_deployment
from local.aws import Aws, install_aws, launch_aws
from local.emulator import LambdaFunction
from local.servers import Servers
from tests.integration.test_whole_way import await_equal, deployment
from tests.states import definition

__all__ = ["deployment"]

ITEMS = 3000
_FORWARDER = """
import json, urllib.error, urllib.request

class SinkUnavailable(Exception):
    pass

def handler(event, context):
    asked = urllib.request.Request("{url}", json.dumps(event).encode())
    try:
        return json.loads(urllib.request.urlopen(asked, timeout=300).read())
    except urllib.error.HTTPError as error:
        raise SinkUnavailable(error.read().decode())
"""


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


class Steps:
    """The function, called by the engine's over HTTP; the units in `failing` fail when they are first asked for."""

    def __init__(self, function: LoadFunction) -> None:
        self.function = function
        self.failing: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        unit = event.get("item", {}).get("unit", {}).get("name", "")
        with self._lock:
            self.asked.append((event["step"], unit))
            if unit in self.failing:
                if sum(one == ("unit", unit) for one in self.asked) >= 3:
                    self.failing.discard(unit)
                raise RuntimeError(f"{unit} fails")
        return self.function(event, Context())


@contextmanager
def served(steps: Steps) -> Iterator[str]:
    class Asked(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, body = 200, json.dumps(steps(event)).encode()
            except Exception as error:  # noqa: BLE001  (the function's failure)
                status, body = 500, str(error).encode()
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An engine alone, in every form: its state machines read the lines of a plan from its own S3."""
    started = launch_aws(tmp_path_factory.mktemp("engine"), install_aws(lambda _text, _done, _total: None))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture
def environment(engine: Aws, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment that points at that engine for every service, and at OpenSearch."""
    url = engine.environment()["AWS_ENDPOINT_URL"]
    found = {**servers.environment(), **engine.environment()}
    found = {name: url if name.startswith("AWS_ENDPOINT_URL") else value for name, value in found.items()}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
def set_up(deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in deployment.items():
        monkeypatch.setenv(name, value)
    return deployment


def executed(aws: Any, url: str, bucket: str, request: dict[str, Any]) -> dict[str, Any]:
    """The end of an execution of the template's state machine."""
    code, name = io.BytesIO(), f"load-{uuid4().hex[:8]}"
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("forward.py", _FORWARDER.replace("{url}", url))
    role = "arn:aws:iam::000000000000:role/load"
    aws("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="forward.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=300,
    )
    states = aws("stepfunctions")
    machine = states.create_state_machine(
        name=name, roleArn=role, definition=json.dumps(definition(name, concurrency=4, bucket=bucket))
    )
    execution = states.start_execution(stateMachineArn=machine["stateMachineArn"], input=json.dumps(request))
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(states.describe_execution(executionArn=execution["executionArn"]))
        return bool(found["status"] != "RUNNING")

    await_equal(ended, 240)
    return found


def fill(dynamodb: Any, table: str) -> None:
    for start in range(0, ITEMS, 25):
        puts = [
            {"PutRequest": {"Item": {"pk": {"S": f"k{n}"}, "sk": {"S": "x"}, "n": {"N": str(n)}}}}
            for n in range(start, start + 25)
        ]
        assert not dynamodb.batch_write_item(RequestItems={table: puts})["UnprocessedItems"]


def test_a_load_by_the_state_machine_ends_equal_though_units_fail(
    set_up: dict[str, str], aws: Any, table: tuple[str, str], bucket: str, opensearch: Any, index: str
) -> None:
    fill(aws("dynamodb"), table[0])
    with open_deployment(set_up) as (parts, jobs):
        steps = Steps(LoadFunction(parts, jobs))
        steps.failing.add("segment-000001")
        with served(steps) as url:
            ended = executed(aws, url, bucket, {"table": table[0]})
    assert ended["status"] == "SUCCEEDED", (ended, steps.asked)
    state = json.loads(ended["output"])
    assert (state["finished"], state["remaining"], state["items"]) == (True, 0, ITEMS)
    assert f"{ITEMS:,} items equal, 0 missing, 0 ghosts, 0 stale" in state["verdict"]
    assert sum(step == ("unit", "segment-000001") for step in steps.asked) > 1
    opensearch.indices.refresh(index=index)
    assert opensearch.count(index=index)["count"] == ITEMS


def test_a_load_that_may_not_go_on_fails_with_the_reason(
    set_up: dict[str, str], aws: Any, table: tuple[str, str], bucket: str
) -> None:
    with open_deployment(set_up) as (parts, jobs), served(Steps(LoadFunction(parts, jobs))) as url:
        ended = executed(aws, url, bucket, {"table": "nowhere"})
    assert ended["status"] == "FAILED"
    assert "nowhere" in str(ended)


def test_the_packages_function_does_each_step_in_lambdas_own_runtime(
    set_up: dict[str, str],
    in_lambda: Callable[..., LambdaFunction],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> None:
    fill(aws("dynamodb"), table[0])
    function = in_lambda("consumers.aws_lambda.entry_load.handler", set_up, 120)
    request = {"step": "plan", "request": {"table": table[0]}, "concurrency": "4"}
    state = function.invoke(request)
    lines = aws("s3").get_object(Bucket=state["bucket"], Key=state["key"])["Body"].read().splitlines()
    assert len(lines) == state["open"] > 1
    done = [function.invoke({"step": "unit", "item": json.loads(line)}) for line in lines]
    assert sum(one["items"] for one in done) == ITEMS
    state = function.invoke({"step": "open", "state": state})
    assert state["open"] == 0
    verdict = function.invoke({"step": "verdict", "state": state})
    assert f"{ITEMS:,} items equal, 0 missing, 0 ghosts, 0 stale" in verdict["verdict"]
    opensearch.indices.refresh(index=index)
    assert opensearch.count(index=index)["count"] == ITEMS
