"""All servers of the demo and the tests, installed and started side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from consumers.kcl.java.artifacts import Progress, kcl_jars
from local.aws import Aws, install_aws, launch_aws
from local.opensearch import OpenSearchServer, install_opensearch, launch_opensearch

__all__ = ["Servers", "running"]


@dataclass(frozen=True)
class Servers:
    """Running servers; their logs are in `run`."""

    aws: Aws
    opensearch: OpenSearchServer
    run: Path

    def environment(self) -> dict[str, str]:
        """The variables that point SDKs and consumers at them."""
        return {**self.aws.environment(), **self.opensearch.environment()}


@contextmanager
def running(
    progress: Progress,
    also: Callable[[Progress], object] = kcl_jars,
    *,
    form: str = "engine",
    aws: Aws | None = None,
) -> Iterator[Servers]:
    """AWS and OpenSearch, and what `also` installs beside them; all of it is gone afterwards, but for the cache.

    Args:
        form: of AWS, one of `local.aws.FORMS`.
        aws: one that runs already; no other is started.

    Raises:
        ConfigError: something can't be installed.
        ServerFailed: a server ends, or does not answer in time.
    """
    with ThreadPoolExecutor(3, thread_name_prefix="install") as pool:
        stack = pool.submit(install_aws, progress, form) if aws is None else None
        search = pool.submit(install_opensearch, progress)
        third = pool.submit(also, progress)
    third.result()
    with TemporaryDirectory(prefix="dynamodb-cdc-", ignore_cleanup_errors=True) as folder, ExitStack() as started:
        run = Path(folder)
        if stack is not None:
            aws = launch_aws(run, stack.result())
            started.callback(aws.stop)
        assert aws is not None  # noqa: S101  (one of both)
        opensearch = launch_opensearch(run, search.result())
        started.callback(opensearch.stop)
        aws.wait()
        opensearch.wait()
        yield Servers(aws, opensearch, run)
