"""Who follows the demo's table: the KCL consumer, or the Lambda package under Lambda's own runtime."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cdc.testing.simulated.batches import BatchRules
from local.demo.screen import Status
from local.demo.traffic import TABLE
from local.emulator import LambdaFunction, install_emulator, launch_function
from local.event_source_mapping import LocalEventSourceMapping
from local.lambda_here import CHANGES, build_here
from local.lambda_package import ROOT
from local.process import ServerFailed, start
from local.servers import Servers
from local.stream_source import StreamSource

__all__ = ["MAPPING", "Consumer", "KclConsumer", "LambdaConsumer", "outcomes"]

MAPPING = ROOT / "mappings" / "shop.yml"
"""The mapping of the demo's table; the Lambda package brings a copy of its own."""

_OUTCOMES = ("Applied", "Superseded", "Skipped", "Rejected")


class Consumer(Protocol):
    """Writes the table's changes to the index and the archive, from the first on."""

    @property
    def path(self) -> str:
        """How the changes go, for people."""
        ...

    def await_ready(self) -> None:
        """Return when it follows the table.

        Raises:
            ServerFailed: it has ended, or takes too long.
        """
        ...

    def status(self) -> Status:
        """Report how much it has done by now."""
        ...

    def await_settled(self, records: int, timeout_seconds: float, show: Callable[[Status], None]) -> None:
        """Return when so many are; show the status meanwhile, and at the end.

        Raises:
            ServerFailed: it has ended, or takes longer.
        """
        ...

    def check(self) -> None:
        """
        Raises:
            ServerFailed: it has ended.
        """
        ...

    def stop(self) -> None:
        """End it."""
        ...


class KclConsumer:
    """`cdc run`, a process."""

    path = f"`cdc run --table {TABLE}` follows it"

    def __init__(self, environment: Mapping[str, str], servers: Servers) -> None:
        own = {
            "CDC_MAPPINGS": str(MAPPING),
            "CDC_KCL_PROFILE": "local",
            "CDC_FLUSH_SECONDS": "2",
            "CDC_WORKER_ID": f"demo-{os.getpid()}",
        }
        self._status_file = servers.run / "status.jsonl"
        command = ["-m", "consumers.cli.main", "run", "--table", TABLE, "--status-file", str(self._status_file)]
        self._process = start(
            "the consumer",
            [sys.executable, *command],
            {**environment, **own},
            servers.run,
            servers.run / "consumer.log",
        )

    def await_ready(self) -> None:
        """See `Consumer.await_ready`."""
        self._process.wait_until(lambda: "consuming as worker" in self._process.tail(), 120)

    def status(self) -> Status:
        """See `Consumer.status`."""
        return Status.read(self._status_file)

    def await_settled(self, records: int, timeout_seconds: float, show: Callable[[Status], None]) -> None:
        """See `Consumer.await_settled`."""

        def settled() -> bool:
            status = self.status()
            show(status)
            return status.settled >= records

        self._process.wait_until(settled, timeout_seconds)

    def check(self) -> None:
        """See `Consumer.check`."""
        if self._process.supervisor.poll() is not None:
            self._process.wait_until(lambda: False, 1)  # says why it has ended

    def stop(self) -> None:
        """See `Consumer.stop`."""
        self._process.stop()


class LambdaConsumer:
    """The package that `make lambda` builds, unpacked and run as Lambda does, and an event source mapping."""

    path = "the Lambda package follows it, through Lambda's own runtime interface client and emulator"

    def __init__(
        self,
        environment: Mapping[str, str],
        servers: Servers,
        streams: Any,
        stream_arn: str,
    ) -> None:
        runtime = install_emulator(lambda _text, _done, _total: None)  # it is there already
        package = build_here(servers.run)
        self._function: LambdaFunction = launch_function(servers.run, runtime, package, CHANGES, environment)
        self._mapping = LocalEventSourceMapping(
            self._function.invoke, StreamSource(streams, stream_arn), BatchRules(batch_size=500), window_seconds=1.0
        )
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True, name="event-source-mapping")
        # what goes wrong is shown by the verdict, or by the failure that ends it
        logging.getLogger("local").setLevel(logging.ERROR)
        self._thread.start()

    def _follow(self) -> None:
        try:
            self._mapping.run(self._stop)
        except BaseException as error:  # noqa: BLE001  (of a thread: told to who asks)
            self._failure = error

    def await_ready(self) -> None:
        """See `Consumer.await_ready`."""
        self.check()

    def status(self) -> Status:
        """Count what is acknowledged, and the outcomes in the embedded metrics of its function."""
        return Status(self._mapping.settled, outcomes(self._function.log()))

    def await_settled(self, records: int, timeout_seconds: float, show: Callable[[Status], None]) -> None:
        """See `Consumer.await_settled`."""

        def settled() -> bool:
            self.check()
            show(self.status())
            return self._mapping.settled >= records

        self._function.process.wait_until(settled, timeout_seconds)

    def check(self) -> None:
        """See `Consumer.check`."""
        if self._failure is not None:
            raise ServerFailed(f"the event source mapping ended: {self._failure}") from self._failure
        if self._function.process.supervisor.poll() is not None:
            raise ServerFailed(f"the emulator ended:\n{self._function.process.tail()}")

    def stop(self) -> None:
        """See `Consumer.stop`."""
        self._stop.set()
        self._function.stop()
        self._thread.join(10)


def outcomes(log: str) -> Counter[str]:
    """Count the outcomes of changes in the index, by a function's lines in CloudWatch's embedded metric format."""
    counts: Counter[str] = Counter()
    for text in log.splitlines():
        if text.startswith('{"_aws"') and text.endswith("}"):
            line = json.loads(text)
            if line.get("Sink") == "opensearch":
                counts.update({name.lower(): line[name] for name in _OUTCOMES if line.get(name)})
    return counts
