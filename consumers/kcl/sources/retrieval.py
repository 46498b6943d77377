"""Where the KCL gets records: what differs between DynamoDB Streams, through its adapter, and Kinesis."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from cdc.delivery.shard import Payload

__all__ = ["Retrieval", "endpoint_of", "sdk_client"]


class Retrieval(Protocol):
    """One source of records, as the scheduler and its processors need it. What is `Any` is Java's."""

    processor: str
    """The Java interface that record processors have."""
    client: Any
    """A KinesisAsyncClient, or what takes its place."""

    def config(self, arn: str, position: Any) -> Any:
        """The StreamConfig of a stream, read from an InitialPositionInStreamExtended on. Always the same identifier."""
        ...

    def arn(self, name: str) -> str | None:
        """The ARN of the stream that the KCL calls `name`: account, stream, time of creation. None: not known."""
        ...

    def specific(self) -> Any:
        """How records are got: a RetrievalSpecificConfig. Made once."""
        ...

    def leases(self, lease: Any, retrieval: Any) -> Any:
        """The LeaseManagementFactory."""
        ...

    def scheduler(self, configs: Mapping[str, Any]) -> Any:
        """The Scheduler of these configurations."""
        ...

    def payloads(self, records: Any) -> list[Payload]:
        """A batch's records, oldest first."""
        ...

    def shards(self, arn: str) -> Collection[str] | None:
        """The ids of all shards that the stream has now; None: the stream is gone.

        Raises:
            ConfigError: AWS refuses to be asked.
            ConsumerFailed: AWS is out of reach.
        """
        ...

    def trimmed(self, arn: str, shard: str, after: str) -> bool:
        """Are records behind sequence number `after` gone, as far as this can be asked before reading? False where
        reading itself tells. Empty: from the shard's beginning.

        Raises:
            ConfigError: AWS refuses to be asked.
            ConsumerFailed: AWS is out of reach.
        """
        ...

    def close(self) -> None:
        """Close the clients."""
        ...


def endpoint_of(service: str) -> str | None:
    """The endpoint that the environment names for a service, such as KINESIS: the Java SDK does not read
    AWS_ENDPOINT_URL from every version on."""
    return os.environ.get(f"AWS_ENDPOINT_URL_{service}") or os.environ.get("AWS_ENDPOINT_URL")


def sdk_client(jpype: Any, region: str, name: str, service: str) -> Any:
    """A builder of the Java SDK's client `name`; credentials by the SDK's own rules."""
    java = jpype.JClass
    builder = java(f"software.amazon.awssdk.services.{name}").builder()
    builder = builder.region(java("software.amazon.awssdk.regions.Region").of(region))
    endpoint = endpoint_of(service)
    return builder.endpointOverride(java("java.net.URI").create(endpoint)) if endpoint else builder
