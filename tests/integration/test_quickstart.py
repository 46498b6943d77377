"""The README's quickstart for a table of one's own, as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.test_whole_way import await_equal

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Your own table\n")[2].partition("### Items older")[0]


def steps(language: str, names: dict[str, str]) -> list[str]:
    """The blocks of the section, with the names of this run in the place of the README's."""
    text = SECTION
    for name, here in names.items():
        text = text.replace(name, here)
    return [dedent(block) for block in re.findall(rf"^ *```{language}\n(.*?)```", text, re.DOTALL | re.MULTILINE)]


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Runs commands in a folder of its own, with `cdc` on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, **environment, "PATH": path, "CDC_KCL_PROFILE": "local"}
    started: list[subprocess.Popen[str]] = []

    def run(commands: str, *, wait: bool = True) -> Any:
        command = ["bash", "-euc", commands]
        if wait:
            done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout
        with (tmp_path / "consumer.log").open("w") as log:
            started.append(subprocess.Popen(command, cwd=tmp_path, env=given, stdout=log, stderr=log, text=True))
        return None

    yield run
    for process in started:
        process.terminate()
        process.wait(60)


@pytest.mark.skipif(shutil.which("aws") is None, reason="NOT TESTED: the AWS CLI is not installed")
def test_the_quickstart_finds_a_changed_item_and_no_older_one(
    shell: Callable[..., Any], environment: dict[str, str], aws: Any, bucket: str, tmp_path: Path
) -> None:
    table = f"users-{uuid4().hex[:8]}"
    names = {"users": table, "https://search.example.com": environment["CDC_OPENSEARCH_ENDPOINT"], "letters": bucket}
    stream_on, check, run, search = steps("sh", names)
    (mapping,) = steps("yaml", names)
    dynamodb = aws("dynamodb")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def put(identifier: str, name: str) -> None:
        dynamodb.put_item(TableName=table, Item={"id": {"S": identifier}, "name": {"S": name}, "password": {"S": "x"}})

    put("1", "Ada")
    put("2", "Ada the Second")
    shell(stream_on)
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / f"{table}.yml").write_text(mapping)
    tried = shell(check)
    assert "no problem" in tried
    assert '"name":"Ada"' in tried
    shell(run.replace("cdc run", "exec cdc run"), wait=False)
    put("1", "Ada Lovelace")
    setting = f"export CDC_OPENSEARCH_ENDPOINT={environment['CDC_OPENSEARCH_ENDPOINT']}\n"
    await_equal(lambda: "Ada Lovelace" in shell(setting + search))
    found = shell(setting + search)
    assert "Second" not in found
    assert "password" not in found
