"""`python -m local.compose.guide`: waits until a document can be found, then says where to look and what to try."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
from collections.abc import Mapping

from local.compose.init import ask

__all__ = ["guide", "main"]

_WAIT_SECONDS = 180.0


def guide(ports: Mapping[str, str]) -> str:
    """What is shown; `ports` by their variables' names."""
    search, stack, grafana = (ports[f"{name}_PORT"] for name in ("OPENSEARCH", "LOCALSTACK", "GRAFANA"))
    return f"""
The table `shop` can be searched. OpenSearch is at http://127.0.0.1:{search}, LocalStack at http://127.0.0.1:{stack}.

  curl 'http://127.0.0.1:{search}/orders/_search?q=status:paid&pretty'     # its orders that are paid

  docker compose --profile demo up traffic                   # changes, for a minute
  docker compose up -d --scale consumer=3                    # three consumers
  docker compose --profile observe up -d                     # dashboards: http://127.0.0.1:{grafana}
  docker compose run --rm consumer cdc archive cat           # every change, from the archive
  docker compose run --rm consumer cdc dead-letters list     # what could not be written
  docker compose down                                        # the index stays; with -v it goes too
"""


def main() -> int:
    """Wait and print; 1 if nothing can be found in time."""
    until = time.monotonic() + _WAIT_SECONDS
    while not _found(os.environ["OPENSEARCH"]):
        if time.monotonic() > until:
            print(f"nothing of the table can be found after {_WAIT_SECONDS:.0f} s: docker compose logs consumer")
            return 1
        time.sleep(0.5)
    print(guide(os.environ), flush=True)
    return 0


def _found(opensearch: str) -> bool:
    try:
        return bool(ask(opensearch, "/orders/_search?size=0")["hits"]["total"]["value"])
    except urllib.error.URLError:  # the index is made by the consumer's start
        return False


if __name__ == "__main__":
    sys.exit(main())
