"""The function's container image: built, started as Lambda's base image starts it, given batches."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from local.compose.init import ask
from local.emulator import UNREACHABLE, FunctionFailed, install_emulator, invoke
from local.process import free_port
from tests.docker.engine import ROOT, Composed, docker, until

IMAGE = "dynamodb-cdc-lambda"
OFFICIAL = "public.ecr.aws/lambda/python:3.13"
STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/shop/stream/2026-01-15T09:00:00.000"

Invoke = Callable[[Any], Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base image: the official one where it is at hand, else one that stands in for it."""
    pulled = subprocess.run(["docker", "pull", "--quiet", OFFICIAL], capture_output=True, timeout=300, check=False)
    if pulled.returncode == 0:
        return OFFICIAL
    folder = tmp_path_factory.mktemp("lambda-base")
    shutil.copy(install_emulator(lambda *_: None).emulator, folder / "aws-lambda-rie")
    shutil.copy(ROOT / "local/lambda-runtime.txt", folder)
    recipe = Path(__file__).with_name("lambda-base") / "Dockerfile"
    docker("build", "--quiet", "--tag", f"{IMAGE}-base", "--file", str(recipe), str(folder))
    return f"{IMAGE}-base"


@pytest.fixture(scope="module")
def image(base: str) -> str:
    docker("build", "--file", "deploy/lambda/Dockerfile", "--build-arg", f"BASE={base}", "--tag", IMAGE, ".")
    return IMAGE


@contextmanager
def function(image: str, system: Composed, **settings: str) -> Iterator[Invoke]:
    """The image, started in the project's network."""
    port, name = free_port(), f"{system.project}-function-{os.urandom(3).hex()}"
    options = [option for key, value in settings.items() for option in ("--env", f"{key}={value}")]
    docker(
        *("run", "--detach", "--name", name, "--network", f"{system.project}_default"),
        *("--publish", f"127.0.0.1:{port}:8080", "--env", "AWS_LAMBDA_FUNCTION_TIMEOUT=60", *options, image),
    )
    try:
        yield partial(answer, port)
    finally:
        docker("rm", "--force", name)


def answer(port: int, event: Any) -> Any:
    """The function's answer; awaits its emulator."""

    def answered() -> tuple[Any] | None:
        try:
            return (invoke(f"http://127.0.0.1:{port}", event, 60),)
        except FunctionFailed as failure:
            if failure.kind == UNREACHABLE:
                return None
            raise

    (result,) = until(answered, 60)
    return result


def record(number: int, **image: dict[str, Any]) -> dict[str, Any]:
    keys = {"pk": {"S": f"CUSTOMER#{number}"}, "sk": {"S": "PROFILE"}}
    return {
        "eventID": f"{number:032}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1768469400.0,
            "Keys": keys,
            "NewImage": {**keys, **image},
            "SequenceNumber": str(100000000002513011398 + number),
            "SizeBytes": 80,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": STREAM,
    }


def found(system: Composed, text: str) -> int:
    return int(ask(system.opensearch, f"/customers/_search?q=name:{text}&size=0")["hits"]["total"]["value"])


def test_the_image_writes_a_batch_to_opensearch(image: str, system: Composed) -> None:
    system("up", "--detach", "--wait", "opensearch")
    with function(image, system, CDC_OPENSEARCH_ENDPOINT="http://opensearch:9200") as ask_it:
        answered = ask_it({"Records": [record(number, name={"S": "Ada"}) for number in range(3)]})
    assert answered == {"batchItemFailures": []}
    until(lambda: found(system, "Ada") == 3, 30)


def test_the_image_answers_with_the_first_record_that_is_not_settled(image: str, system: Composed) -> None:
    system("up", "--detach", "--wait", "opensearch")
    good, poison, after = record(10), record(11, name={"X": "no such type"}), record(12)
    with function(image, system, CDC_OPENSEARCH_ENDPOINT="http://opensearch:9200") as ask_it:
        answered = ask_it({"Records": [good, poison, after]})
    assert answered == {"batchItemFailures": [{"itemIdentifier": poison["dynamodb"]["SequenceNumber"]}]}


def test_a_wrong_setting_fails_the_start_and_is_named(image: str, system: Composed) -> None:
    system("up", "--detach", "--wait", "opensearch")
    misspelt = function(image, system, CDC_OPENSEARCH_ENDPOINTS="http://opensearch:9200")
    with misspelt as ask_it, pytest.raises(FunctionFailed, match=r"did you mean CDC_OPENSEARCH_ENDPOINT\?") as failed:
        ask_it({"Records": [record(20)]})
    assert failed.value.kind == "ConfigError"


def test_the_image_has_the_sdk_of_its_base_and_none_of_its_own(image: str) -> None:
    listed = docker("run", "--rm", "--entrypoint", "python3", image, "-c", "import os; print(*os.listdir('/var/task'))")
    assert {"cdc", "consumers", "mappings", "opensearchpy", "msgspec"} <= set(listed.split())
    assert not {"boto3", "botocore", "grpc"} & set(listed.split())


def test_the_image_is_for_this_machines_processor(image: str) -> None:
    built = docker("image", "inspect", "--format", "{{.Architecture}}", image).strip()
    assert built == {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
