"""Both servers, installed and started side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from consumers.kcl.artifacts import kcl_jars
from local.localstack import LocalStack, start_localstack
from local.opensearch import OpenSearchServer, start_opensearch

__all__ = ["Servers", "running"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Servers:
    """Running servers; their logs are in `run`."""

    localstack: LocalStack
    opensearch: OpenSearchServer
    run: Path

    def environment(self) -> dict[str, str]:
        """What points SDKs and consumers at them."""
        return {**self.localstack.environment(), **self.opensearch.environment()}


@contextmanager
def running(progress: Progress) -> Iterator[Servers]:
    """LocalStack and OpenSearch, and the KCL's jars fetched; all of it gone afterwards, but for the cache.

    Raises:
        ConfigError: something can't be installed.
        ServerFailed: a server ends, or does not answer in time.
    """
    with TemporaryDirectory(prefix="dynamodb-cdc-", ignore_cleanup_errors=True) as folder:
        run = Path(folder)
        with ThreadPoolExecutor(3) as pool:
            stack = pool.submit(start_localstack, run, progress)
            search = pool.submit(start_opensearch, run, progress)
            jars = pool.submit(kcl_jars, progress)
        started = [future.result() for future in (stack, search) if future.exception() is None]
        try:
            jars.result()
            yield Servers(stack.result(), search.result(), run)
        finally:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda server: server.stop(), started))
