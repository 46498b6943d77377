"""AWS Lambda handlers: an event source mapping's batch → the pipeline → a partial batch response."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.observer import UNOBSERVED, reason_of
from cdc.outcome import Progress
from cdc.records.change import Change
from cdc.records.decoding import Record, read_lambda, size_bytes_of
from cdc.records.sequence import SequenceNumber
from cdc.sinks.functions import FunctionSink
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from consumers.aws_lambda.startup import Context, Handler, answer_deadline, ready_handler
from consumers.logs import configure_lambda_logging
from consumers.pipelines import Wiring, wire
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.sinks import Sink
    from consumers.aws_lambda.redrive import redrive_handler, redrive_handler_for

__all__ = [
    "Context",
    "Handler",
    "handler",
    "handler_for",
    "handler_of",
    "redrive_handler",
    "redrive_handler_for",
    "respond",
]

log = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    """The redrive's handlers, imported when asked for: the function of a stream starts without them."""
    if name in ("redrive_handler", "redrive_handler_for"):
        return getattr(import_module("consumers.aws_lambda.redrive"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


Event = Mapping[str, Any]


def handler(event: Event, context: Context) -> dict[str, Any]:
    """Write a batch of DynamoDB changes as the mappings say.

    Let Lambda load `consumers.aws_lambda.entry_changes.handler` instead: this one is made ready by its first event, and
    a mistake of the deployment fails each invocation.

    Returns:
        `{"batchItemFailures": []}`, or the sequence number of the first record that is not settled: Lambda delivers
        again everything from it ("Configuring partial batch response with DynamoDB and Lambda").

    Raises:
        ConfigError: the deployment is wrong; nothing of the batch is acknowledged.
    """
    return _wiring()(event, context)


def handler_for(
    *,
    on_insert: Callable[[Change], object] | None = None,
    on_modify: Callable[[Change], object] | None = None,
    on_remove: Callable[[Change], object] | None = None,
) -> Handler:
    """A handler that calls your functions, each with a Change, and writes what the mappings ask for, if there are any.

    A function's return acknowledges its change; it may raise `cdc.Defer` or `cdc.Reject`. It is called at least once
    for each change: it must bear repetition.

    Raises:
        ConfigError: in Lambda, where a handler is made ready at once: the deployment is wrong.
    """
    return handler_of(FunctionSink(on_insert=on_insert, on_modify=on_modify, on_remove=on_remove))


def handler_of(functions: Sink | None) -> Handler:
    """As `handler_for`, with a sink of your own in the functions' place, or none.

    Raises:
        ConfigError: in Lambda: the deployment is wrong.
    """
    return ready_handler(lambda: _wired(functions))


@dataclass(frozen=True)
class _Wired:
    """A handler that is ready; called once an invocation, as long as Lambda keeps the process."""

    wiring: Wiring
    metrics: EmbeddedMetrics | None

    def __call__(self, event: Event, context: Context) -> dict[str, Any]:
        if self.metrics is None:
            return respond(event, context, self.wiring)
        with self.metrics.invocation(_source_name(event)):
            return respond(event, context, self.wiring)


@cache
def _wiring() -> _Wired:
    return _wired(None)


def _wired(functions: Sink | None) -> _Wired:
    settings = load_settings(os.environ)
    configure_lambda_logging(settings.log_level)
    metrics = EmbeddedMetrics(settings.metrics_namespace) if settings.embedded_metrics else None
    wiring = wire(settings, functions=functions, observer=metrics or UNOBSERVED)
    _ = wiring.invocations  # its sinks' modules are imported now, not with the first batch
    return _Wired(wiring, metrics)


def respond(event: Event, context: Context, wiring: Wiring) -> dict[str, Any]:
    """What `handler` answers, with parts of your own."""
    began = wiring.clock()
    deadline = answer_deadline(context, wiring)
    with wiring.spans("cdc.decode") as facts:
        records = read_lambda(event)
        facts["records"] = len(records)
    name = _source_name(event)
    if records:
        wiring.observer.received(name, len(records), _oldest_seconds(records, wiring))
    progress = _progress(records, deadline, wiring)
    settled = records[: progress.settled]
    wiring.observer.settled(name, len(settled), wiring.clock() - began, sum(map(size_bytes_of, settled)))
    changes = Counter((record.table, record.operation) for record in settled if isinstance(record, Change))
    for (table, operation), count in changes.items():
        wiring.observer.changed(table, operation.value, count)
    resume_at = None if progress.resume_at is None else progress.resume_at.text
    _log(name, records, progress.settled, resume_at, context)
    return {"batchItemFailures": [] if resume_at is None else [{"itemIdentifier": resume_at}]}


def _progress(records: Sequence[Record], deadline: Deadline, wiring: Wiring) -> Progress:
    """Prepare each table that comes for the first time, then write and flush."""
    try:
        for record in records:
            if isinstance(record, Change):
                wiring.prepare(record.stream, tuple(record.raw_keys), record.view, deadline=deadline)
    except SinkUnavailable as error:
        if records[0].sequence is None:
            raise
        return _given_back(records[0].sequence, error, wiring)
    pipeline = wiring.invocations
    try:
        return pipeline.process(records, deadline)
    finally:
        pipeline.close()


def _given_back(first: SequenceNumber, error: SinkUnavailable, wiring: Wiring) -> Progress:
    wiring.observer.retried(error.sink, reason_of(error.message))
    log.error("nothing is written: %s", " → ".join(filter(None, (error.message, error.remedy))))
    return Progress(0, first)


def _oldest_seconds(records: Sequence[Record], wiring: Wiring) -> float:
    created = [record.created_micros for record in records if isinstance(record, Change)]
    return max(0.0, wiring.now() - min(created) / 1e6) if created else 0.0


def _source_name(event: Any) -> str:
    """The table of a DynamoDB stream, or the name of a Kinesis stream; empty if the event does not say."""
    try:
        arn = str(event["Records"][0]["eventSourceARN"])
    except (KeyError, IndexError, TypeError):
        return ""
    return arn.partition(":table/")[2].partition("/")[0] or arn.rpartition("/")[2]


def _log(name: str, records: Sequence[Record], settled: int, resume_at: str | None, context: Context) -> None:
    """One line an invocation: what came and how far it is settled, and nothing of an item."""
    numbers = [record.sequence.text for record in records if record.sequence is not None]
    first, last = (numbers[0], numbers[-1]) if numbers else ("", "")
    facts = {
        "requestId": getattr(context, "aws_request_id", ""),
        "table": name,
        "records": len(records),
        "settled": settled,
        "first": first,
        "last": last,
        "resumeAt": resume_at or "",
    }
    log.info(
        "%d of %d records of %s settled (%s to %s)", settled, len(records), name, first, last, extra={"facts": facts}
    )
