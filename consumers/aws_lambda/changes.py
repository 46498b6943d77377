"""The function that writes a table's changes: an event source mapping's batch → the pipeline → a partial answer."""

from __future__ import annotations

import atexit
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from cdc.delivery.shared import SharedSink
from cdc.errors import NothingSettled
from cdc.observer import BatchReceived, ChangesSettled, RecordsSettled
from cdc.records.change import Change
from cdc.records.decoding import Record, size_bytes_of
from cdc.sinks import Sink
from cdc.sinks.functions import FunctionSink
from consumers.aws_lambda.startup import Answer, Context, Event, Handler, answer_deadline, at_init, open_function
from consumers.own_sinks import checked_sink
from consumers.pipelines import LAMBDA
from consumers.runtime import Runtime

__all__ = ["ChangesFunction", "Context", "Handler", "handler", "handler_for", "handler_for_sink", "source_name"]

log = logging.getLogger(__name__)


def handler(event: Event, context: Context) -> Answer:
    """Write a batch of DynamoDB changes as the mappings say.

    Let Lambda load `consumers.aws_lambda.entry_changes.handler` instead: this one is made ready by its first event, and
    a mistake of the deployment fails each invocation.

    Returns:
        `{"batchItemFailures": []}`, or the sequence number of the first record that is not settled: Lambda delivers
        again everything from it ("Configuring partial batch response with DynamoDB and Lambda").

    Raises:
        ConfigError: the deployment is wrong; nothing of the batch is acknowledged.
        NothingSettled: no record could be settled. An answer would be taken for success by an event source mapping
            that lacks ReportBatchItemFailures.
    """
    return _by_mappings()(event, context)


@cache
def _by_mappings() -> Handler:
    return handler_for_sink(None)


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
        ConfigError: there is no function; or, in Lambda, where a handler is made ready at once, the deployment is
            wrong.
    """
    functions = FunctionSink(on_insert=on_insert, on_modify=on_modify, on_remove=on_remove)
    return at_init(lambda: open_function(lambda: functions, _respond_with, source_name))


def handler_for_sink(sink: Sink | None) -> Handler:
    """A handler that writes to a sink of your own, and to what the mappings ask for, if there are any.

    The sink is closed when the process ends.

    Raises:
        ConfigError: `sink` is no sink; or, in Lambda, the deployment is wrong.
    """
    if sink is None:
        return at_init(lambda: open_function(None, _respond_with, source_name))
    shared = SharedSink(checked_sink("handler_for_sink", sink))
    atexit.register(sink.close)
    return at_init(lambda: open_function(lambda: shared, _respond_with, source_name))


def _respond_with(runtime: Runtime, _metrics: object) -> Handler:
    return ChangesFunction(runtime)


class ChangesFunction:
    """Answers events of one function, one after the other."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # one for all invocations, so that the breaker and the alarm keep their counts
        self._pipeline = runtime.pipelines.pipeline(LAMBDA)

    def __call__(self, event: Event, context: Context) -> Answer:
        """Settle a batch, as far as its time allows; see `handler`."""
        pipelines = self._runtime.pipelines
        began = pipelines.clock()
        deadline = answer_deadline(context, self._runtime)
        with pipelines.spans("cdc.decode") as facts:
            records = self._runtime.records.lambda_event(event)
            facts["records"] = len(records)
        name = source_name(event)
        if records:
            pipelines.observer(BatchReceived(name, len(records), _oldest_seconds(records, pipelines.now())))
        try:
            progress = self._pipeline.process(records, deadline)
        finally:
            self._pipeline.close()  # what is not flushed comes again
        settled = records[: progress.settled]
        size = sum(map(size_bytes_of, settled))
        left = self._runtime.records.left(settled)
        pipelines.observer(RecordsSettled(name, len(settled), pipelines.clock() - began, size, left))
        changes = Counter((record.table, record.operation) for record in settled if isinstance(record, Change))
        for (table, operation), count in changes.items():
            pipelines.observer(ChangesSettled(table, operation.value, count))
        resume_at = None if progress.resume_at is None else progress.resume_at.text
        _log(name, records, progress.settled, resume_at, context)
        if records and not settled:
            raise NothingSettled(
                f"none of the {len(records)} records of {name} is settled: all of them come again",
                remedy="The log's lines before this one say what they wait for.",
            )
        return {"batchItemFailures": [] if resume_at is None else [{"itemIdentifier": resume_at}]}


def _oldest_seconds(records: Sequence[Record], now: float) -> float:
    """The age of the oldest change, of those that say it."""
    created = [record.created_micros for record in records if isinstance(record, Change)]
    known = [micros for micros in created if micros is not None]
    return max(0.0, now - min(known) / 1e6) if known else 0.0


def source_name(event: Any) -> str:
    """The table of a DynamoDB stream, or the name of a Kinesis stream; empty if the event does not say."""
    try:
        arn = str(event["Records"][0]["eventSourceARN"])
    except (KeyError, IndexError, TypeError):
        return ""
    return arn.partition(":table/")[2].partition("/")[0] or arn.partition(":stream/")[2].partition("/")[0]


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
