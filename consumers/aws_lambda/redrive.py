"""The redrive as a Lambda on an SQS queue: our announcements of dead letters, and Lambda's own failure records."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from cdc.dead_letters.redrive import Redriven, Redriver, Result, StillDead
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.deadline import Deadline
from cdc.errors import CdcError, ConfigError
from cdc.records.change import Change
from cdc.sinks import Sink
from cdc.sinks.functions import FunctionSink
from cdc.slowest import Slowest
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from consumers.aws_lambda.on_failure import StreamReader, is_on_failure, read_on_failure, redrive_batch
from consumers.aws_lambda.startup import Answer, Context, Event, Handler, answer_deadline, at_init, open_function
from consumers.runtime import Runtime

__all__ = ["RedriveFunction", "RedriveQueue", "redrive_handler", "redrive_handler_for", "redrive_handler_for_sink"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RedriveQueue:
    """Handlers of the messages of a queue.

    `s3`: a client for objects that messages point to; made when the first such message comes.
    """

    redriver: Redriver
    read_back: StreamReader
    s3: Callable[[], Any]
    slowest: Slowest = field(default_factory=Slowest, repr=False, compare=False)

    def respond(self, event: Event, deadline: Deadline) -> dict[str, Any]:
        """A partial batch response: the ids of messages that have to come again ("Implementing partial batch responses"
        of SQS in the AWS Lambda Developer Guide).

        Raises:
            ConfigError: the event is not of SQS.
        """
        messages = event.get("Records") if isinstance(event, Mapping) else None
        if not isinstance(messages, list) or any("messageId" not in message for message in messages):
            raise ConfigError(
                "the event holds no messages of SQS",
                remedy="Give this function an event source mapping of an SQS queue; let SNS and S3 send to the queue.",
            )
        failures = []
        for message in messages:
            result = self._in_time(message, deadline)
            if isinstance(result, StillDead):
                log.error("the message %s stays in the queue: %s", message["messageId"], result.reason)
                failures.append({"itemIdentifier": message["messageId"]})
        log.info("%d of %d messages settled", len(messages) - len(failures), len(messages))
        return {"batchItemFailures": failures}

    def _in_time(self, message: Mapping[str, Any], deadline: Deadline) -> Result:
        if not self.slowest.allows(deadline):
            return StillDead("the deadline has passed")
        began = deadline.clock()
        result = self._settled(message, deadline)
        self.slowest.took(deadline.clock() - began)
        return result

    def _settled(self, message: Mapping[str, Any], deadline: Deadline) -> Result:
        try:
            return self._body(json.loads(message["body"]), deadline)
        except CdcError as error:
            return StillDead(str(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return StillDead(f"it can't be read: {type(error).__name__}: no dead letter, no failure record of Lambda")

    def _body(self, body: Any, deadline: Deadline) -> Result:
        match body:
            case {"kind": "cdc-dead-letter", "bucket": str(bucket), "key": str(key)}:
                return self._letter(bucket, key, deadline)
            case {"Type": "Notification", "Message": str(text)}:  # an SNS topic in between
                return self._body(json.loads(text), deadline)
            case {"Event": "s3:TestEvent"}:  # S3 sends one when notifications are set up
                return Redriven()
            case {"Records": [{"eventSource": "aws:s3"}, *_]}:
                return self._objects(body["Records"], deadline)
        if is_on_failure(body):
            return redrive_batch(read_on_failure(body), self.redriver, self.read_back, deadline)
        return StillDead(
            "it is no announcement of a dead letter, no failure record of Lambda and no notice of S3: give this "
            "function a queue of its own"
        )

    def _letter(self, bucket: str, key: str, deadline: Deadline) -> Result:
        store = self.redriver.letters
        if isinstance(store, S3DeadLetters):
            if bucket != store.bucket or not key.startswith(store.object_key("")):
                return StillDead(
                    f"the letter is in s3://{bucket}, and this function's are in s3://{store.bucket}/{store.prefix}: "
                    "set CDC_DEAD_LETTER_BUCKET and CDC_DEAD_LETTER_PREFIX"
                )
            key = key.removeprefix(store.object_key(""))
        ((_, result),) = self.redriver.redrive([key], deadline)
        return result

    def _objects(self, notices: list[Any], deadline: Deadline) -> Result:
        from consumers.failure_records import FailureObjects, redrive_failure

        for notice in notices:
            if not str(notice["eventName"]).startswith("ObjectCreated:"):
                continue
            objects = FailureObjects(self.s3(), notice["s3"]["bucket"]["name"])
            name = unquote_plus(notice["s3"]["object"]["key"])
            result = redrive_failure(objects, name, self.redriver, self.read_back, deadline)
            if isinstance(result, StillDead):
                return result
        return Redriven()


def redrive_handler(event: Event, context: Context) -> Answer:
    """Redrive what the messages of an SQS queue point to: dead letters that were announced on it
    (`CDC_DEAD_LETTER_QUEUE_URL`), and batches that Lambda gave up on (an OnFailure destination of SQS, of SNS, or of S3
    whose notifications go to the queue).

    Let Lambda load `consumers.aws_lambda.entry_redrive.handler`, which is ready before its first message.

    Returns:
        `{"batchItemFailures": […]}` with each message that is not settled: it stays in the queue. The event source
        mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`.

    Raises:
        ConfigError: the deployment is wrong; every message stays.
    """
    return _by_mappings()(event, context)


@cache
def _by_mappings() -> Handler:
    return redrive_handler_for_sink(None)


def redrive_handler_for(
    *,
    on_insert: Callable[[Change], object] | None = None,
    on_modify: Callable[[Change], object] | None = None,
    on_remove: Callable[[Change], object] | None = None,
) -> Handler:
    """A handler like `redrive_handler`, for letters of your functions too: they get the letter's own change, `redriven`
    being true.

    Raises:
        ConfigError: in Lambda, where a handler is made ready at once: the deployment is wrong.
    """
    return redrive_handler_for_sink(FunctionSink(on_insert=on_insert, on_modify=on_modify, on_remove=on_remove))


def redrive_handler_for_sink(sink: Sink | None) -> Handler:
    """A handler like `redrive_handler`, for letters of a sink of your own too.

    Raises:
        ConfigError: in Lambda: the deployment is wrong.
    """
    own = None if sink is None else lambda: sink
    return at_init(lambda: open_function(own, _respond_with, lambda _event: ""))


def _respond_with(runtime: Runtime, metrics: EmbeddedMetrics | None) -> Handler:
    from consumers.clients import aws_client
    from consumers.failure_records import stream_reader
    from consumers.redriving import make_redriver

    s3 = cache(lambda: aws_client("s3", None, runtime.settings.aws_timeout_seconds))
    return RedriveFunction(runtime, metrics, RedriveQueue(make_redriver(runtime), stream_reader(), s3))


@dataclass(frozen=True)
class RedriveFunction:
    """Answers messages of one function's queue."""

    runtime: Runtime
    metrics: EmbeddedMetrics | None
    queue: RedriveQueue

    def __call__(self, event: Event, context: Context) -> Answer:
        """Settle the messages, as far as the time allows; see `redrive_handler`."""
        # a letter is deleted, an object archived, after the last of its writes
        deadline = answer_deadline(context, self.runtime).earlier(self.runtime.pipelines.reserved_seconds)
        answer = self.queue.respond(event, deadline)
        if self.metrics is not None:
            kept = len(answer["batchItemFailures"])
            self.metrics.messages(len(event["Records"]) - kept, kept)
        return answer
