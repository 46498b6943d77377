"""`python -m local.soak`: a steady load on one consumer, its memory and threads sampled; is either of them growing?"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil

from cdc.errors import CdcError
from local.demo.screen import Status
from local.demo.traffic import TABLE, Traffic, make_table
from local.process import ServerProcess, free_port, start
from local.servers import Servers, running
from local.soak_trend import Sample, Trend, trend_of

__all__ = ["Soaked", "main"]

_SAMPLE_SECONDS = 5.0
_DRAIN_SECONDS = 120.0
_TOLD_EVERY = 12
_HEAP = "128m"
"""Small, so that it is collected often, and what leaks there ends the process within the soak."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """The figures of a soak. `settled` counts records, `written` the writes that were answered: equal in the end."""

    minutes: float
    per_second: float
    written: int
    settled: int
    rss: Trend
    heap: Trend
    threads: Trend
    files: Trend
    cpu_share: float

    @property
    def is_good(self) -> bool:
        """Is all settled, and nothing growing?"""
        return self.settled >= self.written and self.rss.is_flat and self.threads.is_flat and self.files.is_flat


def main() -> int:
    """Run the soak; 0 if memory and threads are flat and all was settled."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts")
    parser.add_argument("--per-second", type=float, default=60.0, help="changes written a second")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print("AWS, OpenSearch and the KCL: fetching what the cache lacks, starting …", flush=True)
    try:
        with running(lambda _text, _done, _total: None) as servers:
            soaked = _soak(servers, options.minutes, options.per_second)
    except KeyboardInterrupt:
        print("stopped")
        return 130
    except CdcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _show(soaked)
    return 0 if soaked.is_good else 1


def _soak(servers: Servers, minutes: float, per_second: float) -> Soaked:
    import boto3
    from botocore.config import Config

    os.environ.update(servers.aws.environment())
    client = boto3.client("dynamodb", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
    make_table(client)
    for bucket in ("lake", "dead-letters"):
        boto3.client("s3").create_bucket(Bucket=bucket)
    status_file = servers.run / "status.jsonl"
    port = free_port()
    consumer = _consumer(servers, status_file, port)
    try:
        consumer.wait_until(lambda: "consuming as worker" in consumer.tail(), 120)
        process = consumer.server
        traffic = Traffic(client, minutes * 60, per_second)
        began, cpu_before = time.monotonic(), _cpu(process)
        writers = traffic.start()
        samples: list[Sample] = []
        try:
            while wait(writers, _SAMPLE_SECONDS).not_done:
                samples.append(_sample(process, port, time.monotonic() - began))
                if len(samples) % _TOLD_EVERY == 0:
                    _tell(samples[-1], traffic.written)
        finally:
            traffic.stop.set()
        for writer in writers:
            writer.result()
        cpu_share = (_cpu(process) - cpu_before) / (time.monotonic() - began)
        consumer.wait_until(lambda: Status.read(status_file).settled >= traffic.written, _DRAIN_SECONDS)
    finally:
        consumer.stop()
    return _soaked(samples, traffic.written, Status.read(status_file).settled, cpu_share)


def _consumer(servers: Servers, status_file: Path, port: int) -> ServerProcess:
    environment = {
        **servers.environment(),
        "CDC_MAPPINGS": str(Path(__file__).parent.parent / "mappings" / "shop.yml"),
        "CDC_ARCHIVE_BUCKET": "lake",
        "CDC_DEAD_LETTER_BUCKET": "dead-letters",
        "CDC_KCL_PROFILE": "local",
        "CDC_WORKER_ID": f"soak-{os.getpid()}",
        "CDC_JVM_HEAP": _HEAP,
        "CDC_HTTP_HOST": "127.0.0.1",
        "CDC_HTTP_PORT": str(port),
    }
    command = [sys.executable, "-m", "consumers", "run", "--table", TABLE, "--status-file", str(status_file)]
    return start("the consumer", command, environment, servers.run, servers.run / "consumer.log")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _sample(process: psutil.Process, port: int, seconds: float) -> Sample:
    heap = _heap_bytes(port) / 1e6
    with process.oneshot():
        return Sample(seconds, process.memory_info().rss / 1e6, heap, process.num_threads(), process.num_fds())


def _heap_bytes(port: int) -> float:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        lines = page.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("cdc_jvm_heap_used_bytes "))


def _tell(sample: Sample, written: int) -> None:
    print(
        f"{sample.seconds:6.0f} s  {written:7d} written  {sample.rss_mb:6.0f} MB  "
        f"{sample.heap_mb:4.0f} MB of the heap in use  {sample.threads} threads",
        flush=True,
    )


def _soaked(samples: Sequence[Sample], written: int, settled: int, cpu_share: float) -> Soaked:
    lasted = samples[-1].seconds
    return Soaked(
        minutes=round(lasted / 60, 2),
        per_second=round(written / lasted, 1),
        written=written,
        settled=settled,
        rss=trend_of(samples, lambda sample: sample.rss_mb),
        heap=trend_of(samples, lambda sample: sample.heap_mb),
        threads=trend_of(samples, lambda sample: sample.threads),
        files=trend_of(samples, lambda sample: sample.files),
        cpu_share=round(cpu_share, 3),
    )


def _show(soaked: Soaked) -> None:
    print(f"\n{'':16}{'start':>8}{'middle':>8}{'end':>8}{'highest':>9}   floor of the second half")
    for name, trend in (("RSS, MB", soaked.rss), ("threads", soaked.threads), ("open files", soaked.files)):
        print(f"{name:16}{trend.first:8.0f}{trend.middle:8.0f}{trend.last:8.0f}{trend.highest:9.0f}   {trend}")
    print(f"{'heap in use, MB':16}{soaked.heap.first:8.0f}{soaked.heap.middle:8.0f}{soaked.heap.last:8.0f}", end="")
    print(f"{soaked.heap.highest:9.0f}   of {_HEAP}: full, it would have ended the process")
    print(
        f"{soaked.written} changes in {soaked.minutes:.1f} minutes ({soaked.per_second:.0f} a second), "
        f"{soaked.settled} settled, {soaked.cpu_share:.0%} of a core"
    )
    print(json.dumps({**asdict(soaked), "good": soaked.is_good}))


if __name__ == "__main__":
    sys.exit(main())
