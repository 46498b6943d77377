"""A rebuild under load: consumer, writers and searches go on, the command is killed, and all three sides are equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from tests.integration.test_whole_way import await_equal, consumer, deployment, in_index, in_table

__all__ = ["consumer", "deployment"]

FULL = 200
"""Items that are there before the rebuild, more than those that are deleted."""


def put(dynamodb: Any, table: str, number: int) -> None:
    key = {"pk": {"S": f"k{number}"}, "sk": {"S": "x"}}
    dynamodb.put_item(TableName=table, Item={**key, "n": {"N": str(number)}, "note": {"S": f"note {number}"}})


class Client:
    """Does something again and again in a thread; what fails in it is raised at the end."""

    def __init__(self, act: Callable[[int], None]) -> None:
        self.done = 0
        self._act = act
        self._stop = Event()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._act(self.done)
                self.done += 1
        except BaseException as failure:  # noqa: BLE001  (raised by whoever waits)
            self._failure = failure

    @contextmanager
    def running(self) -> Iterator[None]:
        """It runs within the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        if self._failure is not None:
            raise self._failure


@pytest.fixture
def changed(deployment: dict[str, str], table: tuple[str, str], index: str, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody whose mapping file has changed already."""
    folder = tmp_path / "changed"
    folder.mkdir()
    (folder / "mapping.yml").write_text(
        f"table: {table[0]}\ndocuments:\n  - {{index: {index}, fields: {{rename: {{note: remark}}}}}}\n"
    )
    return {**os.environ, **deployment, "CDC_MAPPINGS": str(folder / "mapping.yml")}


def cdc(environment: dict[str, str], *arguments: str, code: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def notes(opensearch: Any, concrete: str, field: str) -> dict[str, str]:
    """The document's note by its id."""
    opensearch.indices.refresh(index=concrete)
    hits = opensearch.search(index=concrete, params={"size": 1000})["hits"]["hits"]
    return {hit["_id"]: hit["_source"][field] for hit in hits}


@pytest.mark.turn("long")
def test_an_index_is_rebuilt_under_load_killed_rolled_back_and_given_up(
    deployment: dict[str, str],
    changed: dict[str, str],
    consumer: Callable[[], Any],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
) -> None:
    dynamodb, name = aws("dynamodb"), table[0]
    for number in range(FULL):
        put(dynamodb, name, number)
    process = consumer()
    await_equal(lambda: opensearch.indices.exists(index=index))
    opensearch.cluster.health(index=index, params={"wait_for_active_shards": "1"})
    await_equal(lambda: searched(opensearch, index) == FULL)

    def write(turn: int) -> None:
        """Changes, new items, and deletes of those that the load is about to read."""
        put(dynamodb, name, turn % 50)
        put(dynamodb, name, FULL + turn % 100)
        key = {"pk": {"S": f"k{FULL + (turn + 50) % 100}"}, "sk": {"S": "x"}}
        dynamodb.delete_item(TableName=name, Key=key)

    def search(_turn: int) -> None:
        assert searched(opensearch, index) >= FULL

    writers, readers = Client(write), Client(search)
    with readers.running(), writers.running():
        begun = subprocess.Popen([sys.executable, "-m", "consumers.cli.main", "rebuild", "--index", index], env=changed)
        await_equal(lambda: opensearch.indices.exists(index=f"{index}-v2"))
        begun.kill()
        begun.wait()
        result = cdc(changed, "rebuild", "--index", index)[-1]["result"]
        assert (result["old"], result["new"]) == (f"{index}-v1", f"{index}-v2")
        assert " 0 missing, 0 ghosts, 0 stale" in result["verdicts"][0]
        before = writers.done
        await_equal(lambda: writers.done > before + 10)
    assert readers.done > 20
    wanted = {key: f"note {number}" for key, number in in_table(dynamodb, name).items()}
    await_equal(lambda: notes(opensearch, f"{index}-v2", "remark") == wanted)
    await_equal(lambda: notes(opensearch, f"{index}-v1", "note") == wanted)
    assert cdc(changed, "rebuild", "status", "--index", index)[0]["swapped"] is True

    cdc(changed, "rebuild", "rollback", "--index", index)
    assert notes(opensearch, index, "note") == wanted
    cdc(changed, "rebuild", "abort", "--index", index)
    assert not opensearch.indices.exists(index=f"{index}-v2")
    put(dynamodb, name, 10_000)
    await_equal(lambda: "k10000|x" in notes(opensearch, index, "note"))
    process.terminate()
    assert process.wait(60) == 0
    assert in_index(opensearch, index)


def searched(opensearch: Any, index: str) -> int:
    return int(opensearch.count(index=index)["count"])


@pytest.mark.turn("long")
def test_searches_that_differ_stop_a_rebuild_from_the_archive_before_its_swap(
    changed: dict[str, str],
    consumer: Callable[[], Any],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
    tmp_path: Path,
) -> None:
    dynamodb = aws("dynamodb")
    for number in range(20):
        put(dynamodb, table[0], number)
    process = consumer()
    await_equal(lambda: in_index(opensearch, index) == in_table(dynamodb, table[0]))
    process.terminate()  # so that the archive holds all
    assert process.wait(60) == 0
    (tmp_path / "queries.ndjson").write_text(
        '{"name": "by note", "query": {"match": {"note": "7"}}}\n{"name": "by number", "query": {"term": {"n": 7}}}\n'
    )
    rebuild = ["rebuild", "--index", index, "--from", "archive", "--keep", "0"]
    page = tmp_path / "searches.html"
    compared = ["--queries", str(tmp_path / "queries.ndjson"), "--html", str(page)]
    (told,) = [line["searches"] for line in cdc(changed, *rebuild, *compared, code=1) if "searches" in line]
    assert {one["name"]: one["differs"] for one in told} == {"by note": True, "by number": False}
    assert "by note" in page.read_text()
    assert list(opensearch.indices.get_alias(name=index)) == [f"{index}-v1"]
    result = cdc(changed, *rebuild, *compared, "--accept-differences")[-1]["result"]
    assert result["items"] == 20
    assert " 0 missing, 0 ghosts, 0 stale" in result["verdicts"][0]
    assert in_index(opensearch, index) == in_table(dynamodb, table[0])
    assert not opensearch.indices.exists(index=f"{index}-v1")


def test_a_consumer_of_the_changed_mapping_is_told_the_command_that_heals_it(
    deployment: dict[str, str],
    changed: dict[str, str],
    consumer: Callable[[], Any],
    aws: Any,
    table: tuple[str, str],
    opensearch: Any,
    index: str,
    tmp_path: Path,
) -> None:
    put(aws("dynamodb"), table[0], 1)
    process = consumer()
    await_equal(lambda: in_index(opensearch, index) == in_table(aws("dynamodb"), table[0]))
    Path(changed["CDC_MAPPINGS"]).write_text(
        f"table: {table[0]}\ndocuments: [{{index: {index}, where: {{sk: [y]}}}}]\n"
    )
    told = subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", "verify", "--table", table[0]],
        env=changed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert f"cdc rebuild --index {index}" in told.stderr
    assert process.poll() is None
