"""Records of DynamoDB Streams, through the KCL's adapter for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from cdc.delivery.shard import Payload
from consumers.kcl.java.batch_getters import Crossing, virtual
from consumers.kcl.leases.gaps import Gaps
from consumers.kcl.sources.caching_fetcher import written_once
from consumers.kcl.sources.gap_detecting_client import guarded
from consumers.kcl.sources.read_pacing import make_pace
from consumers.kcl.sources.retrieval import sdk_client
from consumers.kcl.sources.streams import is_beginning_trimmed, shards_of_stream
from consumers.kcl.tuning import KclSettings

__all__ = ["DynamoDBStreams"]

_ADAPTER = "com.amazonaws.services.dynamodbv2.streamsadapter."


class DynamoDBStreams:
    """A `Retrieval` of DynamoDB Streams. Gaps that reads meet go to `gaps`."""

    processor = f"{_ADAPTER}processor.DynamoDBStreamsShardRecordProcessor"  # the adapter takes no other

    def __init__(self, jpype: Any, settings: KclSettings, gaps: Gaps) -> None:
        self._java = java = jpype.JClass
        self._settings = settings
        builder = sdk_client(jpype, settings.region, "dynamodb.streams.DynamoDbStreamsClient", "DYNAMODB_STREAMS")
        self._streams = guarded(jpype, builder.build(), gaps)
        region = java("software.amazon.awssdk.regions.Region").of(settings.region)
        self.client = java(f"{_ADAPTER}AmazonDynamoDBStreamsAdapterClient")(self._streams, region)
        behaviors = java(f"{_ADAPTER}AmazonDynamoDBStreamsAdapterClient$SkipRecordsBehavior")
        # what is behind a gap is read only after the guard recorded the gap; a stop leaves the lease as it is
        self.client.setSkipRecordsBehavior(
            behaviors.SKIP_RECORDS_TO_TRIM_HORIZON if gaps.goes_on else behaviors.KCL_RETRY
        )
        self._schedulers = java(f"{_ADAPTER}StreamsSchedulerFactory")
        keep = "software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy$NoLeaseDeletionStrategy"
        self._keep_leases = java(keep)()
        self._pace = make_pace(jpype, java(f"{_ADAPTER}DynamoDBStreamsSleepTimeController")(), settings.max_records)
        buffer = java("java.nio.ByteBuffer").class_
        self._written_once = partial(written_once, jpype)
        self._data = Crossing(
            jpype,
            virtual(jpype, "software.amazon.kinesis.retrieval.KinesisClientRecord", "data", buffer),
            virtual(jpype, "java.nio.ByteBuffer", "array", jpype.JArray(jpype.JByte).class_),
        )

    def config(self, arn: str, position: Any) -> Any:
        """See `Retrieval.config`."""
        arns = self._java("java.util.ArrayList")()
        arns.add(arn)
        tracker = self._schedulers.createMultiStreamTracker(arns, position, self._keep_leases)
        return tracker.streamConfigList().get(0)

    def arn(self, name: str) -> str | None:
        """See `Retrieval.arn`."""
        names = self._java(f"{_ADAPTER}util.KinesisMapperUtil")
        identifier = self._java("software.amazon.kinesis.common.StreamIdentifier").multiStreamInstance(name)
        return str(names.createDynamoDBStreamsArnFromKinesisStreamName(identifier.streamName()))

    def specific(self) -> Any:
        """See `Retrieval.specific`: DynamoDB Streams are polled."""
        polling = self._java(f"{_ADAPTER}polling.DynamoDBStreamsPollingConfig")(self.client)
        polling.maxRecords(self._settings.max_records)
        return polling

    def leases(self, lease: Any, retrieval: Any) -> Any:
        """See `Retrieval.leases`."""
        return self._java(f"{_ADAPTER}DynamoDBStreamsLeaseManagementFactory")(self.client, lease, retrieval)

    def scheduler(self, configs: Mapping[str, Any]) -> Any:
        """See `Retrieval.scheduler`."""
        scheduler = self._schedulers.createScheduler(
            configs["checkpoint"],
            configs["coordinator"],
            configs["lease"],
            configs["lifecycle"],
            configs["metrics"],
            configs["processor"],
            configs["retrieval"],
            self.client,
        )
        polling = configs["retrieval"].retrievalSpecificConfig()  # into which the factory put its own
        polling.sleepTimeController(self._pace)
        polling.dataFetcherProvider(self._written_once(polling.dataFetcherProvider()))
        return scheduler

    def payloads(self, records: Any) -> list[Payload]:
        """See `Retrieval.payloads`. The sequence number is in the data: to ask Java for it would cost as much again."""
        return [Payload(bytes(data)) for data in self._data.each(records)]

    def shards(self, arn: str) -> Collection[str] | None:
        """See `Retrieval.shards`."""
        return shards_of_stream(arn)

    def trimmed(self, arn: str, shard: str, after: str) -> bool:
        """See `Retrieval.trimmed`: behind a number the guard around the client sees it; a read from the beginning
        would begin where the stream now begins, and say nothing."""
        return not after and is_beginning_trimmed(arn, shard)

    def close(self) -> None:
        """Close the client."""
        self._streams.close()
