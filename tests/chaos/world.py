"""The servers that all rounds share: AWS, an OpenSearch that may be killed, and a proxy before S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cdc.testing import TcpProxy
from consumers.kcl.java.artifacts import kcl_jars
from local.aws import Aws, install_aws, launch_aws
from local.opensearch import OpenSearchServer, install_opensearch, launch_opensearch

__all__ = ["World", "fresh_world", "world"]

_SMALL_QUEUE = "thread_pool.write.size: 1\nthread_pool.write.queue_size: 2"
"""Room for a consumer's writes, one request a shard of a stream, and for little beside them."""


@dataclass
class World:
    """The servers; `opensearch` is replaced when it is started again, on the same port. Logs and data are in `run`."""

    aws: Aws
    opensearch: OpenSearchServer
    proxy: TcpProxy
    run: Path

    def environment(self) -> dict[str, str]:
        """The variables that point consumers at the servers; at S3 through the proxy."""
        return {
            **self.aws.environment(),
            **self.opensearch.environment(),
            "AWS_ENDPOINT_URL_S3": self.proxy.url,
        }

    def client(self, service: str) -> Any:
        """A boto3 client for the load and the judge: straight to AWS, past the proxy."""
        return self.aws.client(service)

    def start_opensearch_again(self) -> None:
        """On the same data and port, after a stop or a kill."""
        self.opensearch = self.opensearch.started_again()


@contextmanager
def world(aws: Aws, run: Path) -> Iterator[World]:
    """An OpenSearch of its own and the proxy, beside an AWS that runs, or is about to."""
    server = urlsplit(str(aws.endpoint("s3")))
    home = install_opensearch(_silent)
    with TcpProxy(str(server.hostname), int(server.port or 80)) as proxy:
        made = World(aws, launch_opensearch(run, home, extra_settings=_SMALL_QUEUE, heap="384m"), proxy, run)
        try:
            made.opensearch.wait()
            yield made
        finally:
            made.opensearch.stop()


@contextmanager
def fresh_world(run: Path) -> Iterator[World]:
    """Both servers and the proxy in the new folder `run`, and the KCL's jars fetched."""
    kcl_jars()
    run.mkdir()
    aws = launch_aws(run, install_aws(_silent))
    try:
        with world(aws, run) as made:
            aws.wait()
            yield made
    finally:
        aws.stop()


def _silent(_text: str, _done: int, _total: int) -> None:
    """Nobody watches."""
