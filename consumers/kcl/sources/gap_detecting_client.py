"""The client of DynamoDB Streams with a guard around it, that sees gaps: the KCL and its adapter would pass over them.

What they do by themselves (adapter 2.0.1, KCL 3.5.1): a shard that is gone counts as read to its end; trimmed records
are skipped with a warning, or asked for again without end.
"""

from __future__ import annotations

from typing import Any

from cdc.errors import CdcError
from cdc.records.stream import Stream
from consumers.kcl.java.jvm import called
from consumers.kcl.leases.gaps import Gap, Gaps

__all__ = ["guarded"]

_MODEL = "software.amazon.awssdk.services.dynamodb.model."


def guarded(jpype: Any, client: Any, gaps: Gaps) -> Any:
    """`client`, a DynamoDbStreamsClient, whose answers that mean a gap go to `gaps` first. Keep it: Java calls it."""
    java = jpype.JClass
    trimmed = java(f"{_MODEL}TrimmedDataAccessException")
    not_found = java(f"{_MODEL}ResourceNotFoundException")
    expired = java(f"{_MODEL}ExpiredIteratorException")
    kinds = java(f"{_MODEL}ShardIteratorType")
    stays = java("java.lang.IllegalStateException")

    def found(request: Any, *, whole_shard: bool) -> None:
        arn, shard, after = str(request.streamArn()), str(request.shardId()), request.sequenceNumber()
        try:
            gaps.found(Gap(arn, Stream.dynamodb(arn).table, shard, str(after) if after else "", whole_shard))
        except CdcError as error:
            # what the adapter does not know: it lets the KCL try again, and passes over nothing
            raise stays(error.message) from error

    @jpype.JImplements("software.amazon.awssdk.services.dynamodb.streams.DynamoDbStreamsClient")
    class Guarded:
        @called
        def getShardIterator(self, request: Any) -> Any:  # noqa: N802  (Java's name)
            try:
                return client.getShardIterator(request)
            except not_found:
                found(request, whole_shard=True)
                raise  # told so, the adapter takes the shard for read to its end
            except trimmed:
                if request.sequenceNumber() is None:
                    raise  # from the beginning: what is trimmed meanwhile is not there at the next try
                found(request, whole_shard=False)
                oldest = request.toBuilder().shardIteratorType(kinds.TRIM_HORIZON).sequenceNumber(None).build()
                return client.getShardIterator(oldest)

        @called
        def getRecords(self, request: Any) -> Any:  # noqa: N802  (Java's name)
            try:
                return client.getRecords(request)
            except (trimmed, not_found) as error:
                # an iterator does not say of what: the KCL asks for a new one, which names shard and number
                builder = expired.builder().message("the iterator leads to what is gone")
                raise builder.awsErrorDetails(error.awsErrorDetails()).statusCode(400).build() from None

        @called
        def describeStream(self, request: Any) -> Any:  # noqa: N802  (Java's name)
            return client.describeStream(request)

        @called
        def listStreams(self, *request: Any) -> Any:  # noqa: N802  (Java's name)
            return client.listStreams(*request)

        @called
        def serviceName(self) -> Any:  # noqa: N802  (Java's name)
            return client.serviceName()

        @called
        def close(self) -> None:
            client.close()

    return Guarded()
