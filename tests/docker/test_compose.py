"""`docker compose` from a fresh clone to a searchable document, with two consumers, one killed, down and up again.

One story: each test goes on where the one before has ended.
"""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from local.demo.traffic import TABLE
from tests.docker.engine import Composed, docker, until

START_SECONDS = 240


def logs_of(container: str) -> str:
    """The lines of one container, on both outputs."""
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_up_ends_with_a_document_that_can_be_found_and_says_where(system: Composed) -> None:
    began = time.monotonic()
    system("up", "--detach", timeout=START_SECONDS)
    until(system.found, START_SECONDS, lambda: system.logs("init", "consumer")[-4000:])
    print(f"\nfrom `docker compose up` to the first document found: {time.monotonic() - began:.1f} s")
    guide = until(lambda: system.logs("guide").strip(), 30)
    assert f"curl '{system.opensearch}/orders/_search?q=status:paid&pretty'" in guide
    assert "(LocalStack)" in guide
    assert "--profile engine" not in guide


def test_up_starts_localstack_beside_the_engine(system: Composed) -> None:
    assert {name: len(system.containers(name)) for name in ("engine", "localstack")} == {"engine": 1, "localstack": 1}
    assert "engine-rest" not in system("ps", "--all", "--services").split()


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


def test_of_two_consumers_one_is_killed_under_load_and_all_is_equal(system: Composed) -> None:
    system("up", "--detach", "--no-recreate", "--scale", "consumer=2", "consumer")
    until(lambda: system.logs("consumer").count("consuming as worker") >= 2, 120, lambda: system.logs("consumer"))
    names = {container["Config"]["Hostname"] for container in system.containers("consumer")}
    assert len(names) == 2
    assert all(f"consuming as worker {name}" in system.logs("consumer") for name in names)

    before = system.found()
    system("--profile", "demo", "up", "--detach", "--no-recreate", "--no-deps", "traffic")
    until(lambda: system.found() > before, 60, lambda: system.logs("traffic", "consumer")[-4000:])
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
    print(f"\n{system.await_equal()}")


def test_a_stop_is_orderly_and_ends_with_0(system: Composed) -> None:
    began = time.monotonic()
    system("stop", "consumer")
    print(f"\ntwo consumers stopped in {time.monotonic() - began:.1f} s")
    assert [container["State"]["ExitCode"] for container in system.containers("consumer")] == [0, 0]


def test_the_index_survives_down_and_init_removes_what_is_of_the_old_table(system: Composed) -> None:
    kept = system.found()
    system("down", "--timeout", "20")
    system("up", "--detach", "opensearch")
    assert until(system.found, 120) == kept

    system("up", "--detach", "init", timeout=START_SECONDS)
    until(lambda: [one["State"]["Status"] for one in system.containers("init")] == ["exited"], 60)
    said = system.logs("init")
    assert "documents of an earlier table 'shop', which is gone: removed" in said
    assert system.found() == 0
    assert system.aws("dynamodb").scan(TableName=TABLE)["Count"] > 0
