"""`docker compose` from a fresh clone to a searchable document, with two consumers, one killed, down and up again.

One story: each test goes on where the one before has ended.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
from functools import partial
from typing import Any

import boto3
import pytest

from local.compose.init import ask
from local.demo.judge import Verdict, judge, read_stream
from local.demo.traffic import TABLE
from tests.docker.engine import Composed, docker, until

START_SECONDS = 240
CATCH_UP_SECONDS = 120


@pytest.fixture
def aws(system: Composed) -> Any:
    """A factory of clients for the project's LocalStack."""

    client: Any = boto3.client
    return partial(
        client,
        endpoint_url=system.localstack,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def found(system: Composed) -> int:
    """How many orders can be searched."""
    try:
        return int(ask(system.opensearch, "/orders/_search?size=0")["hits"]["total"]["value"])
    except (urllib.error.URLError, OSError):
        return 0


def verdict(system: Composed, aws: Any) -> Verdict:
    (stream,) = aws("dynamodbstreams").list_streams(TableName=TABLE)["Streams"]
    records = read_stream(aws("dynamodbstreams"), stream["StreamArn"])
    return judge(
        aws("dynamodb"), aws("s3"), table=TABLE, records=records, opensearch_url=system.opensearch, bucket="lake"
    )


def await_equal(system: Composed, aws: Any) -> Verdict:
    last = Verdict()

    def equal() -> bool:
        nonlocal last
        last = verdict(system, aws)
        return last.is_good

    until(equal, CATCH_UP_SECONDS, lambda: f"{last}\n{system.logs('consumer')[-4000:]}")
    return last


def logs_of(container: str) -> str:
    """What one container has said, on both outputs."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_up_ends_with_a_document_that_can_be_found_and_says_where(system: Composed) -> None:
    began = time.monotonic()
    system("up", "--detach", timeout=START_SECONDS)
    until(lambda: found(system), START_SECONDS, lambda: system.logs("init", "consumer")[-4000:])
    print(f"\nfrom `docker compose up` to the first document found: {time.monotonic() - began:.1f} s")
    guide = until(lambda: system.logs("guide").strip(), 30)
    assert f"curl '{system.opensearch}/orders/_search?q=status:paid&pretty'" in guide


def test_the_consumer_becomes_healthy(system: Composed) -> None:
    until(
        lambda: [container["State"]["Health"]["Status"] for container in system.containers("consumer")] == ["healthy"],
        60,
        lambda: json.dumps(system.containers("consumer")[0]["State"]),
    )


def test_init_may_run_again(system: Composed) -> None:
    said = system("run", "--no-TTY", "--rm", "--no-deps", "init")
    assert f"the table {TABLE} is there" in said


@pytest.mark.parametrize("command", ["settings --json", "mappings check", "archive cat", "dead-letters list"])
def test_compose_run_reaches_every_command(system: Composed, command: str) -> None:
    said = system("run", "--no-TTY", "--rm", "--no-deps", "consumer", "cdc", *command.split())
    match command.split():
        case ["settings", _]:
            assert "CDC_WORKER_ID" in {setting["name"] for setting in json.loads(said)}
        case ["mappings", _]:
            assert "no problem" in said
        case ["archive", _]:
            assert all(json.loads(line)["Keys"]["pk"]["S"] for line in said.splitlines())
        case _:
            assert "CUSTOMER" not in said  # nothing was rejected


def test_of_two_consumers_one_is_killed_under_load_and_all_is_equal(system: Composed, aws: Any) -> None:
    system("up", "--detach", "--no-recreate", "--scale", "consumer=2", "consumer")
    until(lambda: system.logs("consumer").count("consuming as worker") >= 2, 120, lambda: system.logs("consumer"))
    names = {container["Config"]["Hostname"] for container in system.containers("consumer")}
    assert len(names) == 2
    assert all(f"consuming as worker {name}" in system.logs("consumer") for name in names)

    before = found(system)
    system("--profile", "demo", "up", "--detach", "--no-recreate", "--no-deps", "traffic")
    until(lambda: found(system) > before, 60, lambda: system.logs("traffic", "consumer")[-4000:])
    reading = next(
        container["Id"] for container in system.containers("consumer") if "reading shardId" in logs_of(container["Id"])
    )
    docker("kill", reading)
    docker("start", reading)  # in its slot, as an orchestrator does: the worker id is the same
    until(
        lambda: [c["State"]["Status"] for c in system.containers("traffic")] == ["exited"],
        system.traffic_seconds + 60,
        lambda: system.logs("traffic"),
    )
    print(f"\n{await_equal(system, aws)}")


def test_a_stop_is_orderly_and_ends_with_0(system: Composed) -> None:
    began = time.monotonic()
    system("stop", "consumer")
    print(f"\ntwo consumers stopped in {time.monotonic() - began:.1f} s")
    assert [container["State"]["ExitCode"] for container in system.containers("consumer")] == [0, 0]


def test_the_index_survives_down_and_init_removes_what_is_of_the_old_table(system: Composed, aws: Any) -> None:
    kept = found(system)
    system("--profile", "demo", "down", "--timeout", "20")
    system("up", "--detach", "opensearch")
    assert until(lambda: found(system), 120) == kept

    system("up", "--detach", "init", timeout=START_SECONDS)
    until(lambda: [one["State"]["Status"] for one in system.containers("init")] == ["exited"], 60)
    said = system.logs("init")
    assert "documents of an earlier table 'shop', which is gone: removed" in said
    assert found(system) == 0
    assert aws("dynamodb").scan(TableName=TABLE)["Count"] > 0
