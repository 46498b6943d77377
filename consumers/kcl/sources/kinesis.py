"""Records of Kinesis Data Streams for DynamoDB, by the KCL alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdc.delivery.shard import Payload
from cdc.errors import ConfigError
from cdc.records.stream import Stream
from consumers.kcl.java.batch_getters import Crossing, static, virtual
from consumers.kcl.sources.read_pacing import make_pace
from consumers.kcl.sources.refusals import refusal
from consumers.kcl.sources.retrieval import endpoint_of, sdk_client
from consumers.kcl.sources.streams import client_of
from consumers.kcl.tuning import KclSettings

__all__ = ["KinesisStream", "KinesisStreams", "check_precision", "describe_kinesis", "is_trimmed"]

log = logging.getLogger(__name__)

_KINESIS = "software.amazon.kinesis."
_PAGES = 20
_LEAST_MILLIS = 400
"""From read to read of a shard that is behind: half of the five reads a second that all consumers of it share (Amazon
Kinesis Data Streams Developer Guide, "Quotas and limits")."""
_HORIZON_SECONDS = 3600.0
"""How much younger than the retention a record may be that is the oldest of a shard that goes on losing records."""


@dataclass(frozen=True, slots=True)
class KinesisStream:
    """A data stream as it was found. `created` tells it from an earlier one of the same name."""

    arn: str
    name: str
    created: datetime
    retention_hours: int


def describe_kinesis(arn: str) -> KinesisStream:
    """Look a data stream up.

    Raises:
        ConfigError: the ARN is none, there is no such stream, or AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    name = Stream.kinesis(arn, "").label
    try:
        found = client_of("kinesis").describe_stream_summary(StreamARN=arn)["StreamDescriptionSummary"]
    except ClientError as error:
        if error.response.get("Error", {}).get("Code", "") == "ResourceNotFoundException":
            raise ConfigError(
                f"there is no Kinesis stream {arn}", remedy="Check --kinesis-stream-arn and AWS_REGION."
            ) from error
        raise refusal(
            f"the Kinesis stream {arn} can't be looked up: {error}",
            error,
            "Allow kinesis:DescribeStreamSummary, ListShards, GetShardIterator and GetRecords on it.",
        ) from error
    except BotoCoreError as error:
        raise refusal(
            f"AWS can't be asked for the Kinesis stream {arn}: {error}",
            error,
            "Check AWS_REGION, AWS_ENDPOINT_URL and the credentials.",
        ) from error
    return KinesisStream(arn, name, found["StreamCreationTimestamp"], int(found["RetentionPeriodHours"]))


def check_precision(arn: str, tables: Sequence[str]) -> None:
    """Does each table write microseconds into the stream, as far as DynamoDB answers? A glob names none, and each
    record is looked at again.

    Raises:
        ConfigError: one writes milliseconds: two changes of an item within one could not be ordered.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    for table in tables:
        try:
            answer = client_of("dynamodb").describe_kinesis_streaming_destination(TableName=table)
        except (BotoCoreError, ClientError) as error:
            log.info("whether %s writes microseconds can't be asked, each record is looked at: %s", table, error)
            continue
        for one in answer.get("KinesisDataStreamDestinations", ()):
            precision = one.get("ApproximateCreationDateTimePrecision")
            if one.get("StreamArn") == arn and precision == "MILLISECOND":
                raise ConfigError(
                    f"the table {table!r} writes milliseconds into {arn}: two changes of an item within one can't be "
                    "ordered",
                    remedy=f"aws dynamodb update-kinesis-streaming-destination --table-name {table} --stream-arn {arn} "
                    "--update-kinesis-streaming-configuration ApproximateCreationDateTimePrecision=MICROSECOND; "
                    "or accept it with CDC_KINESIS_PRECISION=millisecond.",
                )


def is_trimmed(stream: KinesisStream, shard: str, after: str, now: Callable[[], float] = time.time) -> bool:
    """Is the record `after` gone, and the oldest one that is there about as old as the stream keeps any? Then those
    between them are gone too. A shard that was silent for long has lost its last record as well, but nothing unread.
    An empty `after` stands for the shard's beginning.

    Raises:
        ConfigError: AWS refuses to be asked.
        ConsumerFailed: AWS is out of reach.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = client_of("kinesis")
    try:
        begin = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": after}
        iterator = client.get_shard_iterator(
            StreamARN=stream.arn, ShardId=shard, **(begin if after else {"ShardIteratorType": "TRIM_HORIZON"})
        )["ShardIterator"]
        for _ in range(_PAGES):  # a page may be empty though there are records
            page = client.get_records(ShardIterator=iterator, Limit=1)
            if page["Records"]:
                (oldest,) = page["Records"]
                age = now() - oldest["ApproximateArrivalTimestamp"].timestamp()
                at_horizon = age > stream.retention_hours * 3600 - _HORIZON_SECONDS
                return bool(oldest["SequenceNumber"] != after and at_horizon)
            iterator = page.get("NextShardIterator")
            if not iterator or not page.get("MillisBehindLatest"):
                break
    except (BotoCoreError, ClientError) as error:
        raise refusal(
            f"{shard} of {stream.arn} can't be read: {error}",
            error,
            "Allow kinesis:GetShardIterator and kinesis:GetRecords on it.",
        ) from error
    return False


class KinesisStreams:
    """A `Retrieval` of Kinesis data streams."""

    processor = f"{_KINESIS}processor.ShardRecordProcessor"

    def __init__(self, jpype: Any, settings: KclSettings, streams: Sequence[KinesisStream]) -> None:
        self._java = java = jpype.JClass
        self._settings = settings
        self._streams = tuple(streams)
        self._created = {stream.arn: int(stream.created.timestamp()) for stream in streams}
        builder = sdk_client(jpype, settings.region, "kinesis.KinesisAsyncClient", "KINESIS")
        endpoint = endpoint_of("KINESIS") or ""
        if endpoint.startswith("http://"):  # HTTP/2 without TLS is not spoken by servers for tests
            netty = java("software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient").builder()
            http11 = java("software.amazon.awssdk.http.Protocol").HTTP1_1
            self.client = builder.httpClientBuilder(netty.protocol(http11)).build()
        else:
            self.client = java(f"{_KINESIS}common.KinesisClientUtil").createKinesisAsyncClient(builder)
        octets, buffer = jpype.JArray(jpype.JByte).class_, java("java.nio.ByteBuffer").class_
        record = "software.amazon.kinesis.retrieval.KinesisClientRecord"
        self._data = Crossing(
            jpype,
            virtual(jpype, record, "data", buffer),
            static(jpype, "software.amazon.awssdk.utils.BinaryUtils", "copyBytesFrom", octets, buffer),
        )
        self._sequence = Crossing(jpype, virtual(jpype, record, "sequenceNumber", java("java.lang.String").class_))
        usual = java(f"{_KINESIS}retrieval.polling.KinesisSleepTimeController")()
        self._pace = make_pace(jpype, usual, settings.max_records, _LEAST_MILLIS)

    def config(self, arn: str, position: Any) -> Any:
        """See `Retrieval.config`."""
        return self._java(f"{_KINESIS}common.StreamConfig")(self._identifier(arn), position)

    def arn(self, name: str) -> str | None:
        """See `Retrieval.arn`: of the streams that were described."""
        return next((arn for arn in self._created if str(self._identifier(arn).serialize()) == name), None)

    def _identifier(self, arn: str) -> Any:
        name = self._java("software.amazon.awssdk.arns.Arn").fromString(arn)
        return self._java(f"{_KINESIS}common.StreamIdentifier").multiStreamInstance(name, self._created[arn])

    def specific(self) -> Any:
        """See `Retrieval.specific`."""
        if self._settings.retrieval == "fan_out":
            config = self._java(f"{_KINESIS}retrieval.fanout.FanOutConfig")(self.client)
            return config.applicationName(self._settings.application)
        polling = self._java(f"{_KINESIS}retrieval.polling.PollingConfig")(self.client)
        return polling.maxRecords(self._settings.max_records).sleepTimeController(self._pace)

    def leases(self, lease: Any, retrieval: Any) -> Any:
        """See `Retrieval.leases`."""
        serializer = self._java(f"{_KINESIS}leases.dynamodb.DynamoDBMultiStreamLeaseSerializer")()
        is_multi_stream = True
        return lease.leaseManagementFactory(serializer, is_multi_stream)

    def scheduler(self, configs: Mapping[str, Any]) -> Any:
        """See `Retrieval.scheduler`."""
        names = ("checkpoint", "coordinator", "lease", "lifecycle", "metrics", "processor", "retrieval")
        scheduler = self._java(f"{_KINESIS}coordinator.Scheduler")(*(configs[name] for name in names))
        # as the scheduler does when it starts: shards can't be listed before
        cache = self._java(f"{_KINESIS}coordinator.streamInfo.StreamIdCache")
        cache.initialize(scheduler.streamIdCacheManager(), configs["lease"].streamIdOnboardingState())
        return scheduler

    def payloads(self, records: Any) -> list[Payload]:
        """See `Retrieval.payloads`."""
        found = zip(self._data.each(records), self._sequence.each(records), strict=True)
        return [Payload(bytes(data), str(sequence)) for data, sequence in found]

    def shards(self, arn: str) -> Collection[str] | None:
        """See `Retrieval.shards`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            client = client_of("kinesis")
            page = client.list_shards(StreamARN=arn)
            found = [shard["ShardId"] for shard in page["Shards"]]
            while "NextToken" in page:
                page = client.list_shards(NextToken=page["NextToken"])
                found += [shard["ShardId"] for shard in page["Shards"]]
        except (BotoCoreError, ClientError) as error:
            raise refusal(
                f"the shards of {arn} can't be listed: {error}", error, "Allow kinesis:ListShards on it."
            ) from error
        return found

    def trimmed(self, arn: str, shard: str, after: str) -> bool:
        """See `Retrieval.trimmed`. Kinesis itself says nothing: it goes on at the oldest record that it has."""
        stream = next(stream for stream in self._streams if stream.arn == arn)
        return is_trimmed(stream, shard, after)

    def close(self) -> None:
        """Close the client."""
        self.client.close()
