"""The worker id: one live process of a host has it."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cdc.errors import ConfigError

__all__ = ["sole_worker"]


@contextmanager
def sole_worker(application: str, worker_id: str) -> Iterator[None]:
    """Hold a lock of this host for application and worker id: two live workers of one id would share leases.

    Raises:
        ConfigError: another process on this host holds it.
    """
    name = re.sub(r"[^\w.-]", "_", f"dynamodb-cdc-{application}-{worker_id}")
    path = Path(tempfile.gettempdir()) / f"{name}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the lock file {path} can't be opened: {error}", remedy="Remove it, or set TMPDIR."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"a consumer of application {application!r} with the worker id {worker_id!r} runs on this host already",
                remedy="Give each consumer a CDC_WORKER_ID of its own.",
            ) from error
        yield
    finally:
        os.close(descriptor)
