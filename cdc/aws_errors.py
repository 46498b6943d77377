"""AWS's errors, translated once: from botocore's exceptions to ours, by the table of codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cdc.causes import CauseKind
from cdc.errors import SinkUnavailable

__all__ = ["code_of", "kind_of", "translated", "unavailable"]

_KINDS: Mapping[str, CauseKind] = {
    **dict.fromkeys(
        (
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        CauseKind.OVERLOADED,
    ),
    **dict.fromkeys(("InternalError", "InternalServerError", "ServiceUnavailable"), CauseKind.OUT_OF_REACH),
}


def code_of(error: BaseException | None) -> str:
    """AWS's error code of an exception, such as `AccessDenied`; empty if the request got no answer."""
    response: Any = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""


def kind_of(error: BaseException) -> CauseKind:
    """The kind of cause that an exception of botocore's is."""
    code = code_of(error)
    return _KINDS.get(code, CauseKind.AWS_REFUSED) if code else CauseKind.OUT_OF_REACH


@contextmanager
def translated(sink: str, what: str, remedy: str = "", *, quotes: bool = True) -> Iterator[None]:
    """Raises botocore's exceptions as SinkUnavailable: "<what>: <the error>".

    Args:
        quotes: AWS's message is part of the text. False where it may quote an item: then its code alone is.

    Raises:
        SinkUnavailable: the request failed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise unavailable(sink, what, error, remedy, quotes=quotes) from error


def unavailable(sink: str, what: str, error: Exception, remedy: str = "", *, quotes: bool = True) -> SinkUnavailable:
    """SinkUnavailable for an exception of botocore's: "<what>: <the error>"; see `translated`."""
    code = code_of(error)
    text = str(error) if quotes else code or type(error).__name__
    return SinkUnavailable(sink, f"{what}: {text}", remedy=remedy, kind=kind_of(error), code=code)
