"""How Lambda runs a handler: made ready while its module is imported, invoked with so much time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cdc.deadline import Deadline
from cdc.errors import CdcError, ConfigError
from consumers.gc_tuning import collect_later, collect_seldom

if TYPE_CHECKING:
    from consumers.pipelines import Wiring

__all__ = ["Context", "answer_deadline", "made_ready", "ready_handler"]

_T = TypeVar("_T")


class Context(Protocol):
    """What is used of Lambda's context object; its `aws_request_id` too, where it has one."""

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation."""
        ...


Handler = Callable[[Mapping[str, Any], Context], dict[str, Any]]


def made_ready(start: Callable[[], _T]) -> Callable[[], _T]:
    """`start`, called once: in Lambda now, elsewhere at the first use.

    Lambda imports a handler's module in its init phase ("Understanding the Lambda execution environment lifecycle"):
    what is wrong there fails the start, once and before any record, and what is right is ready for the first batch.
    Elsewhere an import needs no settings.

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
    return once


def ready_handler(start: Callable[[], Handler]) -> Handler:
    """The handler that `start` makes, which is `made_ready`.

    Raises:
        ConfigError: in Lambda: the deployment is wrong.
    """
    ready = made_ready(start)

    def handle(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
        return ready()(event, context)

    return handle


def answer_deadline(context: Context, wiring: Wiring) -> Deadline:
    """When the answer is due. What has to be done after the writes has its share of that time.

    Raises:
        ConfigError: the function has no more time than that.
    """
    settings, left = wiring.settings, context.get_remaining_time_in_millis() / 1000
    kept = wiring.reserved_seconds
    if left <= settings.deadline_margin_seconds + kept:
        raise ConfigError(
            f"the function has {left:.1f} s, and CDC_DEADLINE_MARGIN_SECONDS is {settings.deadline_margin_seconds:g}"
            + (f"; {kept:g} s are kept for the archive and dead letters" if kept else "")
            + ": nothing could ever be done",
            remedy="Give the function a timeout of a minute or more, or set a smaller margin"
            + (" or CDC_AWS_TIMEOUT_SECONDS." if kept else "."),
        )
    return Deadline.after(left - settings.deadline_margin_seconds, clock=wiring.clock)
