"""`docker compose --profile engine`: from `up` to a searchable document, changes, and down, without LocalStack."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from local.compose.init import QUEUE
from tests.docker.engine import ENGINE_IMAGE, IMAGE, Composed, composed, docker, until

START_SECONDS = 240
ALWAYS = {"engine", "opensearch", "init", "consumer", "guide"}


@pytest.fixture(scope="module")
def alone(system: Composed) -> Iterator[Composed]:
    """The form without LocalStack, nothing of it started. The other one's project is down, for the machine's sake."""
    system("--profile", "*", "down", "--volumes", "--timeout", "20")
    with composed(f"cdc-test-alone-{os.getpid()}", "engine") as project:
        yield project


@pytest.mark.parametrize(
    ("profiles", "more"),
    [
        ((), {"localstack"}),
        (("engine",), {"engine-rest"}),
        (("localstack",), {"localstack"}),
        (("demo",), {"traffic"}),
        (("observe",), {"prometheus", "grafana"}),
        (("engine", "demo"), {"engine-rest", "traffic"}),
        (("engine", "demo", "observe"), {"engine-rest", "traffic", "prometheus", "grafana"}),
        (("localstack", "observe"), {"localstack", "prometheus", "grafana"}),
    ],
)
def test_a_profile_names_its_services(system: Composed, profiles: tuple[str, ...], more: set[str]) -> None:
    form = Composed(system.project, profiles)
    assert set(form("config", "--services").split()) == ALWAYS | more


@pytest.mark.parametrize(
    ("variable", "more"), [("", {"localstack"}), ("engine", {"engine-rest"}), ("localstack", {"localstack"})]
)
def test_the_form_can_be_chosen_in_env(system: Composed, variable: str, more: set[str]) -> None:
    environment = {**os.environ, "COMPOSE_PROFILES": variable}
    listed = docker("compose", "--env-file", os.devnull, "config", "--services", environment=environment)
    assert set(listed.split()) == ALWAYS | more


def test_up_ends_with_a_document_that_can_be_found_and_says_where(alone: Composed) -> None:
    began = time.monotonic()
    alone("up", "--detach", timeout=START_SECONDS)
    until(alone.found, START_SECONDS, lambda: alone.logs("init", "consumer")[-4000:])
    print(f"\nfrom `docker compose --profile engine up` to the first document found: {time.monotonic() - began:.1f} s")
    guide = until(lambda: alone.logs("guide").strip(), 30)
    assert f"curl '{alone.opensearch}/orders/_search?q=status:paid&pretty'" in guide
    assert "LocalStack" not in guide
    assert "docker compose --profile engine down" in guide


def test_no_container_is_of_localstack(alone: Composed) -> None:
    listed = docker(
        *("ps", "--all", "--format", "{{.Image}}", "--filter", f"label=com.docker.compose.project={alone.project}")
    )
    assert {image.partition(":")[0] for image in listed.split()} == {
        IMAGE,
        ENGINE_IMAGE,
        "opensearchproject/opensearch",
    }


def test_changes_reach_the_index_and_the_archive(alone: Composed) -> None:
    before = alone.found()
    alone("--profile", "demo", "up", "--detach", "--no-recreate", "traffic")
    until(lambda: alone.found() > before, 60, lambda: alone.logs("traffic", "consumer")[-4000:])
    until(
        lambda: [one["State"]["Status"] for one in alone.containers("traffic")] == ["exited"],
        alone.traffic_seconds + 60,
        lambda: alone.logs("traffic"),
    )
    print(f"\n{alone.await_equal()}")
    assert "localstack" not in alone("ps", "--all", "--services").split()


def test_a_profile_beside_what_runs_starts_no_other_aws(alone: Composed) -> None:
    without = Composed(
        alone.project,
        ("demo",),
        opensearch_port=alone.opensearch_port,
        engine_port=alone.engine_port,
        localstack_port=alone.localstack_port,
        traffic_seconds=2,
    )
    running = {one["Id"] for name in ("engine", "engine-rest") for one in alone.containers(name)}
    without("up", "--detach", "traffic")
    assert {one["Id"] for name in ("engine", "engine-rest") for one in alone.containers(name)} == running
    assert "localstack" not in alone("ps", "--all", "--services").split()


def test_a_command_of_cdc_starts_no_localstack(alone: Composed) -> None:
    assert "no problem" in alone("run", "--no-TTY", "--rm", "consumer", "cdc", "mappings", "check")
    assert "localstack" not in alone("ps", "--all", "--services").split()


def test_the_queue_of_dead_letters_is_where_the_consumer_looks_for_it(alone: Composed) -> None:
    (consumer,) = alone.containers("consumer")
    variables = dict(entry.split("=", 1) for entry in consumer["Config"]["Env"])
    sqs = alone.aws("sqs")
    sqs.send_message(QueueUrl=variables["CDC_DEAD_LETTER_QUEUE_URL"], MessageBody="a dead letter")
    received = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"])
    assert [message["Body"] for message in received["Messages"]] == ["a dead letter"]


def test_down_leaves_nothing_but_the_index(alone: Composed) -> None:
    alone("--profile", "demo", "down", "--timeout", "20")
    label = f"label=com.docker.compose.project={alone.project}"
    assert docker("ps", "--all", "--quiet", "--filter", label) == ""
    assert docker("network", "ls", "--quiet", "--filter", label) == ""
    assert docker("volume", "ls", "--quiet", "--filter", label) != ""
