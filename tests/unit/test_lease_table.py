"""The lease table's making: another worker that starts at the same time is no fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers.kcl.leases import lease_table
from consumers.kcl.leases.lease_table import refused


class JavaError(Exception):
    """The part of a Java exception that is used."""

    def __init__(self, message: str, cause: Exception | None = None) -> None:
        super().__init__(message)
        self._message, self._cause = message, cause

    def getMessage(self) -> str:  # noqa: N802  (Java's name)
        return self._message

    def getCause(self) -> Exception | None:  # noqa: N802
        return self._cause


def failing(times: int, error: Exception) -> tuple[list[int], Callable[[], None]]:
    calls: list[int] = []

    def make() -> None:
        calls.append(len(calls))
        if len(calls) <= times:
            raise error

    return calls, make


@pytest.mark.parametrize(
    "message",
    [
        "Attempt to change a resource which is still in use: Index is being created.",
        "Attempting to create an index which already exists",
    ],
)
def test_what_another_worker_is_making_is_awaited(message: str) -> None:
    calls, make = failing(1, JavaError("could not make it", JavaError(message)))
    lease_table._made(make)
    assert len(calls) == 2


def test_any_other_fault_is_told_at_once() -> None:
    calls, make = failing(1, JavaError("Rate exceeded"))
    with pytest.raises(JavaError, match="Rate exceeded"):
        lease_table._made(make)
    assert len(calls) == 1


def test_a_denied_action_is_named_with_its_resource() -> None:
    denied = JavaError("User: x is not authorized to perform: dynamodb:CreateTable on resource: arn:aws:dynamodb:t")
    error = refused(JavaError("failed", denied), "app")
    assert "dynamodb:CreateTable on arn:aws:dynamodb:t" in str(error)


def test_the_innermost_message_is_told() -> None:
    error = refused(JavaError("failed", JavaError("Connection refused")), "app")
    assert "'app': Connection refused" in str(error)
