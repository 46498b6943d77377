"""Tracing: spans of OpenTelemetry's API around a part of the work. Off, it costs nothing; never anything of an item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from cdc.errors import ConfigError

__all__ = ["UNTRACED", "Facts", "Spans", "opentelemetry_spans"]

Facts = dict[str, Any]
"""The facts of a span: written into it until it ends. Counts and names."""
Spans = Callable[[str], AbstractContextManager[Facts]]
"""Opens a span of a name."""

SCOPE = "dynamodb-cdc"


def UNTRACED(name: str) -> AbstractContextManager[Facts]:  # noqa: N802  (the one value that stands for "off")
    """Nobody traces."""
    return nullcontext({})


def opentelemetry_spans(provider: Any = None) -> Spans:
    """Spans by OpenTelemetry's API, whose SDK or agent decides what becomes of them (in Lambda: a layer of ADOT's).

    `provider`: of tracers; default: the process's own.

    Raises:
        ConfigError: the API is not installed.
    """
    try:
        from opentelemetry.trace import Status, StatusCode, get_tracer
    except ImportError as error:
        raise ConfigError(
            "tracing is on, and OpenTelemetry's API is not installed",
            remedy="In a checkout: pip install '.[tracing]', or leave tracing off.",
        ) from error
    tracer = get_tracer(SCOPE, tracer_provider=provider)

    @contextmanager
    def span(name: str) -> Iterator[Facts]:
        facts: Facts = {}
        # an exception's message may quote an item: its type alone is told
        with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as opened:
            try:
                yield facts
            except BaseException as error:
                opened.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
            finally:
                opened.set_attributes(_named(facts))

    return span


def _named(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {f"cdc.{name}": value for name, value in facts.items()}
