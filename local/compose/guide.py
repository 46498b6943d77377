"""`python -m local.compose.guide`: waits until a document can be found, then says where to look and what to try."""

from __future__ import annotations

import os
import socket
import sys
import time
import urllib.error
from collections.abc import Mapping

from local.compose.init import ask

__all__ = ["guide", "main"]

_WAIT_SECONDS = 180.0


def guide(ports: Mapping[str, str], *, with_localstack: bool = True) -> str:
    """The text that is shown.

    Args:
        ports: by their variables' names.
        with_localstack: the form of the system; the other one needs its profile in every command.
    """
    names = ("OPENSEARCH", "ENGINE", "LOCALSTACK", "GRAFANA")
    search, tables, rest, grafana = (f"http://127.0.0.1:{ports[f'{name}_PORT']}" for name in names)
    commands = {
        "--profile demo up traffic": "changes, for a minute",
        "up -d --scale consumer=3": "three consumers",
        "--profile observe up -d": f"dashboards: {grafana}",
        "run --rm consumer cdc archive cat": "every change, from the archive",
        "run --rm consumer cdc dead-letters list": "what could not be written",
        "down": "the index stays; with -v it goes too",
    }
    compose = "docker compose" if with_localstack else "docker compose --profile engine"
    server = "LocalStack" if with_localstack else "the engine"
    width = max(map(len, commands)) + 4
    lines = "\n".join(f"  {compose} {command:<{width}} # {effect}" for command, effect in commands.items())
    return f"""
The table `shop` can be searched. OpenSearch is at {search}.
DynamoDB and its streams are at {tables}, the rest of AWS ({server}) at {rest}.

  curl '{search}/orders/_search?q=status:paid&pretty'     # its orders that are paid

{lines}
"""


def main() -> int:
    """Wait and print; 1 if nothing can be found in time."""
    until = time.monotonic() + _WAIT_SECONDS
    while not _found(os.environ["OPENSEARCH"]):
        if time.monotonic() > until:
            print(f"nothing of the table can be found after {_WAIT_SECONDS:.0f} s: docker compose logs consumer")
            return 1
        time.sleep(0.5)
    print(guide(os.environ, with_localstack=not _has_address("engine-rest")), flush=True)
    return 0


def _has_address(service: str) -> bool:
    """Whether the network knows a service: only one that runs has an address."""
    try:
        socket.gethostbyname(service)
    except socket.gaierror:
        return False
    return True


def _found(opensearch: str) -> bool:
    try:
        return bool(ask(opensearch, "/orders/_search?size=0")["hits"]["total"]["value"])
    except urllib.error.URLError:  # the index is made by the consumer's start
        return False


if __name__ == "__main__":
    sys.exit(main())
