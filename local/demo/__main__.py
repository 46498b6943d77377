"""`python -m local.demo`: the main job on real servers, judged."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from shutil import which
from typing import Any
from urllib.request import urlopen

import boto3
from botocore.config import Config
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from cdc.errors import CdcError
from consumers.kcl.java.artifacts import kcl_jars
from local.demo.commands import Command, verified
from local.demo.consumer import MAPPING, Consumer, KclConsumer, LambdaConsumer
from local.demo.judge import Verdict, judge, judge_rebuilt, read_stream
from local.demo.rebuild import Rebuilt, rebuild_and_go_back
from local.demo.screen import WIDTH, Differences, Look, console, counts, line, picture, verdict_panel
from local.demo.traffic import TABLE, Traffic, enable_stream, fill, make_table
from local.emulator import install_emulator
from local.servers import Servers, running

LAKE, LETTERS = "lake", "dead-letters"
_DRAIN_SECONDS = 90.0
_CUSTOMERS = 300
"""Customers, each with some orders, that are in the table before it has a stream."""
_WHOLE_ACT_SECONDS = 600.0
"""The second act is over long before."""
_SECOND_ACT_RATE = 300.0


def main() -> int:
    """Run the demo; 0 if everything was equal in the end."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long changes are written")
    parser.add_argument("--consumer", choices=("kcl", "lambda"), default="kcl", help="who follows the table")
    parser.add_argument("--act", choices=("load", "rebuild"), default="load", help="rebuild: a mapping changes")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the shell has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = console()
    try:
        also = install_emulator if options.consumer == "lambda" else kcl_jars
        with _downloads(out, options.consumer) as downloads, running(downloads.report, also) as servers:
            downloads.stop()  # all of them are there
            return _demo(out, servers, options)
    except KeyboardInterrupt:
        out.print("stopped")
        sys.stdout.flush()
        os._exit(130)  # a download that goes on in a thread would hold the end up
    except CdcError as error:
        out.print(f"[red]error:[/red] {error}", markup=True)
        return 1


class _Downloads:
    """Downloads as bars at a terminal, as a line each elsewhere."""

    def __init__(self, out: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:32}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=out,
            transient=True,
            disable=not out.is_terminal,
        )
        self._tasks: dict[int, TaskID] = {}
        self._is_terminal = out.is_terminal
        self.stop = self._bars.stop
        self._bars.start()

    def report(self, text: str, done: int, total: int) -> None:
        """Show how far one is."""
        if not self._is_terminal:
            if done in (0, total):
                print(f"  {text}", flush=True)
            return
        if total not in self._tasks:
            self._tasks[total] = self._bars.add_task(text, total=total)
        self._bars.update(self._tasks[total], completed=done, description=text[:32])


@contextmanager
def _downloads(out: Console, consumer: str) -> Iterator[_Downloads]:
    third = "Lambda's runtime" if consumer == "lambda" else "the KCL"
    out.print(f"AWS, OpenSearch and {third}: fetching what the cache lacks, starting …")
    downloads = _Downloads(out)
    try:
        yield downloads
    finally:
        downloads.stop()


@dataclass(frozen=True)
class _Stage:
    """Where an act plays: servers, clients of them, who follows the table, and its orders of before."""

    out: Console
    servers: Servers
    clients: dict[str, Any]
    consumer: Consumer
    stream_arn: str
    existing: list[tuple[str, str]]
    environment: dict[str, str]
    """For commands."""


@dataclass(frozen=True)
class _Played:
    """How an act went: the last look at it, the stream's records, and what differs by the product's own word."""

    look: Look
    records: dict[str, Any]
    differing: int
    rebuilt: Rebuilt | None = None


def _demo(out: Console, servers: Servers, options: argparse.Namespace) -> int:
    environment = {
        **servers.environment(),
        "CDC_ARCHIVE_BUCKET": LAKE,
        "CDC_DEAD_LETTER_BUCKET": LETTERS,
    }
    os.environ.update(servers.aws.environment())
    clients: dict[str, Any] = {
        name: boto3.client(name, config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
        for name in ("dynamodb", "dynamodbstreams", "s3")
    }
    make_table(clients["dynamodb"], view=None)
    existing = fill(clients["dynamodb"], _CUSTOMERS)
    stream_arn = enable_stream(clients["dynamodb"])
    for bucket in (LAKE, LETTERS):
        clients["s3"].create_bucket(Bucket=bucket)
    consumer: Consumer
    if options.consumer == "lambda":
        consumer = LambdaConsumer(environment, servers, clients["dynamodbstreams"], stream_arn)
    else:
        consumer = KclConsumer(environment, servers)
    commands_environment = {**environment, "CDC_MAPPINGS": str(MAPPING)}
    stage = _Stage(out, servers, clients, consumer, stream_arn, existing, commands_environment)
    try:
        consumer.await_ready()
        played = _second_act(stage) if options.act == "rebuild" else _first_act(stage, options.seconds)
        return _end(stage, played, keep=options.keep)
    finally:
        consumer.stop()


def _first_act(stage: _Stage, seconds: float) -> _Played:
    """The table is written to and followed, while a backfill loads what is older."""
    traffic = Traffic(stage.clients["dynamodb"], seconds, existing=stage.existing)
    backfill = Command.start(stage.environment, stage.servers.run, "backfill", "--table", TABLE)
    try:
        look, records = _watch(stage.out, stage.clients, stage.consumer, stage.stream_arn, traffic)
        loaded = backfill.result()
    finally:
        backfill.stop()
    stage.out.print(f"cdc backfill: {loaded['items']:,} items loaded meanwhile; {loaded['findings']['verdict']}")
    return _Played(look, records, int(loaded["findings"]["differences"]))


def _second_act(stage: _Stage) -> _Played:
    """The mapping of the orders changes, under load."""
    out, clients, consumer = stage.out, stage.clients, stage.consumer
    backfill = Command.start(stage.environment, stage.servers.run, "backfill", "--table", TABLE)
    try:
        loaded = backfill.result()
    finally:
        backfill.stop()
    out.print(f"the table [bold]{TABLE}[/bold] is loaded: {loaded['findings']['verdict']}; {consumer.path}")
    traffic = Traffic(clients["dynamodb"], _WHOLE_ACT_SECONDS, per_second=_SECOND_ACT_RATE, existing=stage.existing)
    began, writers = time.monotonic(), traffic.start()
    try:
        rebuilt = rebuild_and_go_back(
            out, stage.environment, stage.servers.run, stage.servers.opensearch.url, consumer.check
        )
    finally:
        traffic.stop.set()
    for writer in writers:
        writer.result()
    look = Look(time.monotonic() - began, traffic.written, consumer.status())
    records = read_stream(clients["dynamodbstreams"], stage.stream_arn)
    consumer.await_settled(len(records), _DRAIN_SECONDS, lambda _status: None)
    return _Played(look, records, int(loaded["findings"]["differences"]) + len(rebuilt.searches.failures), rebuilt)


def _end(stage: _Stage, played: _Played, *, keep: bool) -> int:
    """Verify, judge, and say how it was; the exit code."""
    out, clients = stage.out, stage.clients
    findings = verified(stage.environment)
    out.print(f"cdc verify: {findings['verdict']}")
    verdict = _verdict(clients, stage.servers, played.records)
    differing, also = played.differing + findings["differences"], ""
    if played.rebuilt is not None:
        beside = judge_rebuilt(
            clients["dynamodb"], TABLE, stage.servers.opensearch.url, played.rebuilt.old, played.rebuilt.new
        )
        differing += sum(not one.is_good for one in beside.values())
        also = "".join(f"\n{index}: {one.index}" for index, one in beside.items())
        also += f"\n{played.rebuilt.searches}"
    _show_examples(out, clients, stage.servers)
    if keep:
        _show_commands(out, stage.environment, stage.servers)
    letters = clients["s3"].list_objects_v2(Bucket=LETTERS).get("KeyCount", 0)
    out.print()
    out.print(counts(replace(played.look, status=stage.consumer.status())))
    out.print()
    out.print(verdict_panel(verdict, letters, played.look, differing, also))
    if keep:
        _wait_for_ctrl_c(out)
    return 0 if verdict.is_good and not letters and not differing else 1


def _watch(
    out: Console, clients: dict[str, Any], consumer: Consumer, stream_arn: str, traffic: Traffic
) -> tuple[Look, dict[str, Any]]:
    """Write, show what becomes of it, and wait until the consumer has settled all that the stream holds.

    Returns the last look while changes were written, and the stream's records.
    """
    out.print(
        f"the table [bold]{TABLE}[/bold] was full before it had a stream; it is written for {traffic.seconds:.0f} s;\n"
        f"{consumer.path};\n`cdc backfill --table {TABLE}` loads what is older"
    )
    differences = Differences(clients["dynamodbstreams"], stream_arn)
    differences.start()
    began = time.monotonic()
    writers = traffic.start()
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        try:
            shown = 0.0
            while wait(writers, 0.25).not_done:
                look = Look(time.monotonic() - began, traffic.written, consumer.status())
                if out.is_terminal:
                    live.update(picture(look, differences))
                elif look.seconds - shown > 4:
                    shown = look.seconds
                    print(line(look), flush=True)
                consumer.check()
        finally:
            traffic.stop.set()
            differences.stop.set()
        for writer in writers:
            writer.result()
        last = Look(time.monotonic() - began, traffic.written, consumer.status())
        records = read_stream(clients["dynamodbstreams"], stream_arn)
        consumer.await_settled(
            len(records), _DRAIN_SECONDS, lambda status: live.update(picture(replace(last, status=status), differences))
        )
    return last, records


def _verdict(clients: dict[str, Any], servers: Servers, records: dict[str, Any]) -> Verdict:
    """Judge, and wait meanwhile until the archive is flushed."""
    until = time.monotonic() + 30
    while True:
        verdict = judge(
            clients["dynamodb"],
            clients["s3"],
            table=TABLE,
            records=records,
            opensearch_url=servers.opensearch.url,
            bucket=LAKE,
        )
        if verdict.is_good or time.monotonic() > until:
            return verdict
        time.sleep(1)


def _show_examples(out: Console, clients: dict[str, Any], servers: Servers) -> None:
    """A document of the index and a line of the archive, a line of the terminal each."""
    with urlopen(f"{servers.opensearch.url}/orders/_search?q=status:paid&size=1") as answer:  # noqa: S310  (our own)
        found = json.loads(answer.read())
    out.print("\n[bold]A paid order in OpenSearch[/bold], of " + str(found["hits"]["total"]["value"]))
    for hit in found["hits"]["hits"]:
        _print_line(out, json.dumps(hit["_source"], ensure_ascii=False))
    entry = clients["s3"].list_objects_v2(Bucket=LAKE, Prefix="cdc/table=")["Contents"][0]["Key"]
    body = clients["s3"].get_object(Bucket=LAKE, Key=entry)["Body"].read()
    change = json.loads(gzip.decompress(body).partition(b"\n")[0])
    out.print("\n[bold]The first change in the archive[/bold], as DynamoDB exports it")
    _print_line(
        out, json.dumps({name: change[name] for name in ("Keys", "NewImage") if name in change}, ensure_ascii=False)
    )


def _print_line(out: Console, text: str) -> None:
    shown = Text(text)
    shown.truncate(WIDTH, overflow="ellipsis")
    out.print(shown)


def _show_commands(out: Console, environment: dict[str, str], servers: Servers) -> None:
    out.print("\n[bold]Try it[/bold], in another terminal and in this folder:")
    for name, value in environment.items():
        out.print(f"  export {name}={value}", markup=False, soft_wrap=True)
    for command in commands(servers.opensearch.url):
        out.print(f"  {command}", markup=False, soft_wrap=True)


def commands(opensearch_url: str) -> list[str]:
    """Commands that work where the exported variables are set."""
    aws = [f"aws dynamodb scan --table-name {TABLE} --max-items 1"] if which("aws") else []
    return [
        f"curl '{opensearch_url}/customers/_search?q=address.city:Z%C3%BCrich&size=1&pretty'",
        f"curl '{opensearch_url}/orders/_search?q=status:paid&size=1&pretty'",
        *aws,
        ".venv/bin/cdc archive cat | tail -1",
        ".venv/bin/cdc archive count",
        ".venv/bin/cdc dead-letters list",
    ]


def _wait_for_ctrl_c(out: Console) -> None:
    out.print("Everything keeps running until Ctrl-C.")
    with suppress(KeyboardInterrupt):  # how it is meant to end
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
