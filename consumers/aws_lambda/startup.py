"""Start of a Lambda function: made ready while its module is imported, invoked with so much time, closed at exit."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from cdc.deadline import Deadline
from cdc.errors import CdcError, ConfigError
from cdc.observer import UNOBSERVED
from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
from consumers.gc_tuning import collect_later, collect_seldom
from consumers.logs import configure_lambda_logging
from consumers.runtime import open_runtime
from consumers.settings import load_settings

if TYPE_CHECKING:
    from cdc.sinks import Sink
    from consumers.runtime import Runtime

__all__ = ["Answer", "Context", "Event", "Handler", "LambdaFunction", "answer_deadline", "at_init", "open_function"]

log = logging.getLogger(__name__)

Event = Mapping[str, Any]
Answer = dict[str, Any]


class Context(Protocol):
    """The part of Lambda's context object that is used; its `aws_request_id` too, where it has one."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ...


Handler = Callable[[Event, Context], Answer]


@dataclass(frozen=True)
class LambdaFunction:
    """A function that is ready; called once an invocation, as long as Lambda keeps the process."""

    respond: Handler
    source_of: Callable[[Event], str]
    """Names the stream of an event for the metrics; empty for a redrive."""
    metrics: EmbeddedMetrics | None = None

    def __call__(self, event: Event, context: Context) -> Answer:
        """Answer an event, and write its metrics.

        Raises:
            ConfigError: the deployment is wrong, or this is no call of Lambda's.
        """
        if not hasattr(context, "get_remaining_time_in_millis"):
            raise ConfigError(
                f"the handler was called with {type(context).__name__} in the place of Lambda's context",
                remedy="Pass an object that has get_remaining_time_in_millis(), such as cdc.testing.SimulatedContext.",
            )
        with self.metrics.invocation(self.source_of(event)) if self.metrics else nullcontext():
            return self.respond(event, context)


def open_function(
    own: Callable[[], Sink] | None,
    respond_with: Callable[[Runtime, EmbeddedMetrics | None], Handler],
    source_of: Callable[[Event], str],
) -> LambdaFunction:
    """Open the function's runtime by the environment; it is closed when the process ends.

    A sink of the user's own needs no mappings: without `CDC_MAPPINGS`, an index and an archive none are looked for.

    Raises:
        ConfigError: the deployment is wrong.
    """
    settings = load_settings(os.environ)
    configure_lambda_logging(settings.log_level)
    asked = os.environ.get("CDC_MAPPINGS") or settings.opensearch_endpoint or settings.archive_bucket
    if own is not None and not asked:
        log.info("no index and no archive is set, so no mappings are read: changes go to your functions or sink alone")
        settings = msgspec.structs.replace(settings, mappings="none")
    metrics = EmbeddedMetrics(settings.metrics_namespace) if settings.embedded_metrics else None
    runtime = open_runtime(settings, own=own, observer=metrics or UNOBSERVED)
    atexit.register(runtime.close)
    return LambdaFunction(respond_with(runtime, metrics), source_of, metrics)


def at_init(start: Callable[[], Handler]) -> Handler:
    """The handler that `start` makes: in Lambda it is made now, elsewhere at the first event.

    Lambda imports a handler's module in its init phase ("Understanding the Lambda execution environment lifecycle"):
    a mistake fails the start, once and before any record, and a right function is ready for the first batch. Elsewhere
    an import needs no settings.

    Raises:
        ConfigError: the deployment is wrong; all of it in one line, as Lambda logs it.
    """
    once = cache(start)
    if os.environ.get("AWS_LAMBDA_RUNTIME_API"):  # set for whoever fetches invocations there
        try:
            with collect_later():
                once()
            collect_seldom()
        except CdcError as error:
            raise ConfigError("; ".join(error.message.splitlines()) + (error.remedy and f" → {error.remedy}")) from None

    def handle(event: Event, context: Context) -> Answer:
        return once()(event, context)

    return handle


def answer_deadline(context: Context, runtime: Runtime) -> Deadline:
    """The time by which the answer is due. What has to be done after the writes has its share of that time.

    Raises:
        ConfigError: the function has no more time than that.
    """
    settings, left = runtime.settings, context.get_remaining_time_in_millis() / 1000
    kept = runtime.pipelines.reserved_seconds
    if left <= settings.deadline_margin_seconds + kept:
        raise ConfigError(
            f"the function has {left:.1f} s, and CDC_DEADLINE_MARGIN_SECONDS is {settings.deadline_margin_seconds:g}"
            + (f"; {kept:g} s are kept for the archive and dead letters" if kept else "")
            + ": nothing could ever be done",
            remedy="Give the function a timeout of a minute or more, or set a smaller margin"
            + (" or CDC_AWS_TIMEOUT_SECONDS." if kept else "."),
        )
    return Deadline.after(left - settings.deadline_margin_seconds, clock=runtime.pipelines.clock)
