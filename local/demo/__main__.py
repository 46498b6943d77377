"""`python -m local.demo`: the main job on real servers, judged."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cdc.errors import CdcError
from consumers.kcl.java.artifacts import kcl_jars
from local.demo.consumer import MAPPING, Consumer, KclConsumer, LambdaConsumer
from local.demo.judge import Verdict, judge, read_stream
from local.demo.screen import Differences, console, line, picture
from local.demo.traffic import TABLE, Traffic, make_table
from local.emulator import install_emulator
from local.servers import Servers, running

LAKE, LETTERS = "lake", "dead-letters"
_DRAIN_SECONDS = 90.0


def main() -> int:
    """Run the demo; 0 if everything was equal in the end."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long changes are written")
    parser.add_argument("--consumer", choices=("kcl", "lambda"), default="kcl", help="who follows the table")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the shell has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = console()
    try:
        also = install_emulator if options.consumer == "lambda" else kcl_jars
        with _progress(out, options.consumer) as progress, running(progress, also) as servers:
            return _demo(out, servers, options.seconds, options.consumer, keep=options.keep)
    except KeyboardInterrupt:
        out.print("stopped")
        sys.stdout.flush()
        os._exit(130)  # a download that goes on in a thread would hold the end up
    except CdcError as error:
        out.print(f"[red]error:[/red] {error}", markup=True)
        return 1


@contextmanager
def _progress(out: Console, consumer: str) -> Iterator[Any]:
    """Downloads as bars at a terminal, as a line each elsewhere."""
    bars = Progress(
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=out,
        transient=True,
    )
    tasks: dict[int, TaskID] = {}

    def report(text: str, done: int, total: int) -> None:
        if total not in tasks:
            tasks[total] = bars.add_task(text, total=total)
        bars.update(tasks[total], completed=done, description=text[:32])

    third = "Lambda's runtime" if consumer == "lambda" else "the KCL"
    out.print(f"AWS, OpenSearch and {third}: fetching what the cache lacks, starting …")
    if not out.is_terminal:
        yield lambda text, done, total: print(f"  {text}", flush=True) if done in (0, total) else None
        return
    bars.start()
    try:
        yield report
    finally:
        bars.stop()


def _demo(out: Console, servers: Servers, seconds: float, kind: str, *, keep: bool) -> int:
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
    stream_arn = make_table(clients["dynamodb"])
    for bucket in (LAKE, LETTERS):
        clients["s3"].create_bucket(Bucket=bucket)
    consumer: Consumer
    if kind == "lambda":
        consumer = LambdaConsumer(environment, servers, clients["dynamodbstreams"], stream_arn)
    else:
        consumer = KclConsumer(environment, servers)
    try:
        _watch(out, clients, consumer, stream_arn, seconds)
        verdict = _verdict(out, clients, consumer, servers, stream_arn)
        _show(out, clients, servers, verdict)
        if keep:
            _keep(out, {**environment, "CDC_MAPPINGS": str(MAPPING)}, servers)
        return 0 if verdict.is_good else 1
    finally:
        consumer.stop()


def _watch(out: Console, clients: dict[str, Any], consumer: Consumer, stream_arn: str, seconds: float) -> None:
    """Write, and show what becomes of it."""
    consumer.await_ready()
    out.print(f"the table [bold]{TABLE}[/bold] is written for {seconds:.0f} s; {consumer.path}")
    traffic = Traffic(clients["dynamodb"], seconds)
    differences = Differences(clients["dynamodbstreams"], stream_arn)
    differences.start()
    began = time.monotonic()
    writers = traffic.start()
    try:
        with Live(console=out, refresh_per_second=4) as live:
            shown = 0.0
            while wait(writers, 0.25).not_done:
                elapsed, status = time.monotonic() - began, consumer.status()
                if out.is_terminal:
                    live.update(picture(elapsed, traffic.written, status, differences))
                elif elapsed - shown > 4:
                    shown = elapsed
                    print(line(elapsed, traffic.written, status), flush=True)
                consumer.check()
    finally:
        traffic.stop.set()
        differences.stop.set()
    for writer in writers:
        writer.result()
    out.print(picture(time.monotonic() - began, traffic.written, consumer.status(), differences))


def _verdict(out: Console, clients: dict[str, Any], consumer: Consumer, servers: Servers, stream_arn: str) -> Verdict:
    """Wait until the consumer has settled as many records as the stream holds, and its archive is flushed; judge."""
    records = read_stream(clients["dynamodbstreams"], stream_arn)
    out.print(f"the writers have stopped; {len(records)} changes are in the stream; waiting until all are settled …")
    consumer.await_settled(len(records), _DRAIN_SECONDS)
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


def _show(out: Console, clients: dict[str, Any], servers: Servers, verdict: Verdict) -> None:
    from urllib.request import urlopen

    query = f"{servers.opensearch.url}/orders/_search?q=status:paid&size=1"
    with urlopen(query) as answer:  # noqa: S310  (our own server)
        found = json.loads(answer.read())
    out.print(f"\n[bold]curl '{query}'[/bold]")
    out.print(f"{found['hits']['total']['value']} paid orders, the first:", found["hits"]["hits"][:1])
    listing = clients["s3"].list_objects_v2(Bucket=LAKE)["Contents"]
    import gzip

    body = clients["s3"].get_object(Bucket=LAKE, Key=listing[0]["Key"])["Body"].read()
    out.print(f"\n[bold]s3://{LAKE}/{listing[0]['Key']}[/bold]")
    out.print(gzip.decompress(body).split(b"\n")[0].decode()[:600])
    letters = clients["s3"].list_objects_v2(Bucket=LETTERS).get("KeyCount", 0)
    good = verdict.is_good and not letters
    out.print(f"\n[bold {'green' if good else 'red'}]{verdict}; {letters} dead letters[/]")
    for name in ("missing", "stale", "extra", "not_archived", "archived_otherwise"):
        for entry in getattr(verdict, name)[:5]:
            out.print(f"  {name.replace('_', ' ')}: {entry}", markup=False)


def _keep(out: Console, environment: dict[str, str], servers: Servers) -> None:
    out.print("\nEverything keeps running until Ctrl-C. In another terminal:")
    for name, value in environment.items():
        out.print(f"  export {name}={value}", markup=False, soft_wrap=True)
    out.print(f"  curl '{servers.opensearch.url}/customers/_search?q=address.city:Zürich&pretty'", soft_wrap=True)
    out.print(f"  aws dynamodb scan --table-name {TABLE} --max-items 3    # change an item, and search for it")
    out.print("  .venv/bin/cdc archive cat | tail -1")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
