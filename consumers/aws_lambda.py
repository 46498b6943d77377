"""AWS Lambda handlers: an event source mapping's batch → the pipeline → a partial batch response."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from cdc.change import Change
from cdc.deadline import Deadline
from cdc.errors import ConfigError
from cdc.logs import json_lines
from cdc.settings import Settings, load_settings
from cdc.sinks.function import FunctionSink
from cdc.sources import read_lambda
from consumers.redrive_handler import redrive_handler, redrive_handler_for
from consumers.wiring import Wiring, wire

if TYPE_CHECKING:
    from cdc.sinks import Sink

__all__ = ["handler", "handler_for", "redrive_handler", "redrive_handler_for", "respond"]

log = logging.getLogger(__name__)

Event = Mapping[str, Any]
Handler = Callable[[Event, "Context"], dict[str, Any]]


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ...


def handler(event: Event, context: Context) -> dict[str, Any]:
    """Write a batch of DynamoDB changes as the mappings say.

    Returns:
        `{"batchItemFailures": []}`, or the sequence number of the first record that is not settled: Lambda delivers
        again everything from it ("Configuring partial batch response with DynamoDB and Lambda").

    Raises:
        ConfigError: the deployment is wrong; nothing of the batch is acknowledged.
    """
    return respond(event, context, _wiring())


def handler_for(
    *,
    on_insert: Callable[[Change], object] | None = None,
    on_modify: Callable[[Change], object] | None = None,
    on_remove: Callable[[Change], object] | None = None,
) -> Handler:
    """A handler that calls your functions, each with a Change, and writes what the mappings ask for, if there are any.

    A function's return acknowledges its change; it may raise `cdc.Defer` or `cdc.Reject`. It is called at least once
    for each change: it must bear repetition.
    """
    sink = FunctionSink(on_insert=on_insert, on_modify=on_modify, on_remove=on_remove)
    wiring = cache(lambda: _wired(sink))

    def handle(event: Event, context: Context) -> dict[str, Any]:
        return respond(event, context, wiring())

    return handle


@cache
def _wiring() -> Wiring:
    return _wired(None)


def _wired(functions: Sink | None) -> Wiring:
    settings = load_settings(os.environ)
    _log_level(settings)
    return wire(settings, functions=functions)


def _log_level(settings: Settings) -> None:
    root = logging.getLogger()
    root.setLevel(settings.log_level)
    for handler in root.handlers:
        if type(handler).__module__.startswith("awslambdaric"):  # Lambda's own writes plain text
            handler.setFormatter(json_lines())
    logging.getLogger("opensearch").setLevel(logging.CRITICAL)


def respond(event: Event, context: Context, wiring: Wiring) -> dict[str, Any]:
    """What `handler` answers, with parts of your own."""
    records = read_lambda(event)
    for record in records:
        if isinstance(record, Change):
            wiring.prepare(record.stream, tuple(record.raw_keys), record.view)
    margin, left = wiring.settings.deadline_margin_seconds, context.get_remaining_time_in_millis() / 1000
    if left <= margin:
        raise ConfigError(
            f"the function has {left:.1f} s, and CDC_DEADLINE_MARGIN_SECONDS is {margin:g}: nothing could ever be done",
            remedy="Give the function a timeout of a minute or more, or set a smaller margin.",
        )
    deadline = Deadline.after(left - margin, clock=wiring.clock)
    pipeline = wiring.invocations
    try:
        progress = pipeline.process(records, deadline)
    finally:
        pipeline.close()
    log.info("%d of %d records settled", progress.settled, len(records))
    if progress.resume_at is None:
        return {"batchItemFailures": []}
    return {"batchItemFailures": [{"itemIdentifier": progress.resume_at.text}]}
