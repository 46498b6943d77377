"""Failures of AWS at the start: out of reach is another matter than a wrong set-up."""

from __future__ import annotations

from cdc.errors import CdcError, ConfigError, ConsumerFailed

__all__ = ["refusal"]

_PASSING = {"ThrottlingException", "Throttling", "RequestLimitExceeded", "ProvisionedThroughputExceededException"}


def refusal(message: str, error: Exception, remedy: str) -> CdcError:
    """The error to raise for an error of boto3's: ConsumerFailed where AWS is out of reach, throttles or fails, since
    the same again may succeed; else ConfigError."""
    return ConsumerFailed(message, remedy=remedy) if _may_pass(error) else ConfigError(message, remedy=remedy)


def _may_pass(error: Exception) -> bool:
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004  (botocore's name)

    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status >= 500 or error.response.get("Error", {}).get("Code", "") in _PASSING
    return isinstance(error, ConnectionError | HTTPClientError)
