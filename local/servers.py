"""Both servers, installed and started side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from consumers.kcl.artifacts import Progress, kcl_jars
from local.localstack import LocalStack, install_localstack, launch_localstack
from local.opensearch import OpenSearchServer, install_opensearch, launch_opensearch

__all__ = ["Servers", "running"]


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
def running(progress: Progress, also: Callable[[Progress], object] = kcl_jars) -> Iterator[Servers]:
    """LocalStack and OpenSearch, and what `also` installs beside them; all of it gone afterwards, but for the cache.

    Raises:
        ConfigError: something can't be installed.
        ServerFailed: a server ends, or does not answer in time.
    """
    with ThreadPoolExecutor(3, thread_name_prefix="install") as pool:
        stack = pool.submit(install_localstack, progress)
        search = pool.submit(install_opensearch, progress)
        third = pool.submit(also, progress)
    third.result()
    with TemporaryDirectory(prefix="dynamodb-cdc-", ignore_cleanup_errors=True) as folder, ExitStack() as started:
        run = Path(folder)
        localstack = launch_localstack(run, *stack.result())
        started.callback(localstack.stop)
        opensearch = launch_opensearch(run, search.result())
        started.callback(opensearch.stop)
        localstack.wait()
        opensearch.wait()
        yield Servers(localstack, opensearch, run)
