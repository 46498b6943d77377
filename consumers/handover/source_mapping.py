"""SourceMapping: the event source mapping by which the Lambda reads a table, found, checked, switched on and off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cdc.errors import ConfigError
from consumers.kcl.sources.refusals import refusal

__all__ = ["OUR_HANDLER", "SourceMapping", "find_source_mapping", "handler_of", "look_at", "switch"]

_T = TypeVar("_T")
OUR_HANDLER = "consumers.aws_lambda.entry_changes.handler"
"""The handler that writes to OpenSearch and the archive alone, as deploy/lambda/template.yaml names it."""


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """An event source mapping as it stands (AWS Lambda API Reference, "EventSourceMappingConfiguration")."""

    uuid: str
    function: str
    state: str
    """`Enabled`, `Disabled`, or on its way: `Creating`, `Enabling`, `Disabling`, `Updating`, `Deleting`."""
    result: str
    """`LastProcessingResult`: `OK`, `No records processed`, or `PROBLEM: …`."""
    begins: str
    """`StartingPosition`."""
    reports_items: bool
    """Are partial batch responses heeded?"""


def find_source_mapping(client: Any, stream_arn: str, function: str | None) -> SourceMapping | None:
    """The mapping of this stream, and of this function if one is named; None: there is none.

    Raises:
        ConfigError: there are several, or AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    named = {"FunctionName": function} if function else {}
    found = _asked(
        lambda: [
            one
            for page in client.get_paginator("list_event_source_mappings").paginate(EventSourceArn=stream_arn, **named)
            for one in page["EventSourceMappings"]
        ]
    )
    if len(found) > 1:
        functions = ", ".join(sorted(one["FunctionArn"].rpartition(":")[2] for one in found))
        raise ConfigError(f"several functions read {stream_arn}: {functions}", remedy="Name one: --function NAME.")
    return _of(found[0]) if found else None


def look_at(client: Any, uuid: str) -> SourceMapping:
    """The mapping as it stands now.

    Raises:
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    return _of(_asked(lambda: client.get_event_source_mapping(UUID=uuid)))


def switch(client: Any, uuid: str, *, on: bool) -> SourceMapping:
    """Switch it on or off; it is on its way then.

    Raises:
        ConfigError: AWS refuses.
        ConsumerFailed: AWS is out of reach.
    """
    return _of(_asked(lambda: client.update_event_source_mapping(UUID=uuid, Enabled=on)))


def handler_of(client: Any, function: str) -> str:
    """The function's handler; empty for one that is an image.

    Raises:
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    return str(_asked(lambda: client.get_function_configuration(FunctionName=function)).get("Handler", ""))


def _of(found: dict[str, Any]) -> SourceMapping:
    return SourceMapping(
        found["UUID"],
        found["FunctionArn"].partition(":function:")[2],
        found.get("State", ""),
        found.get("LastProcessingResult", ""),
        found.get("StartingPosition", ""),
        "ReportBatchItemFailures" in found.get("FunctionResponseTypes", ()),
    )


def _asked(ask: Callable[[], _T]) -> _T:
    from botocore.exceptions import BotoCoreError, ClientError

    remedy = (
        "Allow lambda:ListEventSourceMappings, GetEventSourceMapping, UpdateEventSourceMapping and "
        "GetFunctionConfiguration; check AWS_REGION."
    )
    try:
        return ask()
    except (ClientError, BotoCoreError) as error:
        raise refusal(f"Lambda can't be asked: {error}", error, remedy) from error
