"""`python -m local.compose.traffic`: the demo's writers, for `TRAFFIC_SECONDS` or until they are stopped."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import wait

from local.demo.traffic import TABLE, Traffic

__all__ = ["main"]

_SAID_EVERY_SECONDS = 5.0


def main() -> int:
    """Write, and say how much."""
    import boto3
    from botocore.config import Config

    client = boto3.client("dynamodb", config=Config(retries={"mode": "standard", "total_max_attempts": 5}))
    traffic = Traffic(client, float(os.environ.get("TRAFFIC_SECONDS") or "60"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: traffic.stop.set())
    writers = traffic.start()
    while wait(writers, _SAID_EVERY_SECONDS).not_done:
        print(f"{traffic.written} changes written to {TABLE}", flush=True)
    for writer in writers:
        writer.result()
    print(f"{traffic.written} changes written to {TABLE}; the end", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
