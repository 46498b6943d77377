"""The adapter's fetcher of records, made to write each batch as JSON once: by itself it does so at every look at a
batch, four times from the answer to the record processor (adapter 2.0.1 with KCL 3.5.1; three fifths of Java's work).
"""

from __future__ import annotations

from typing import Any

from consumers.kcl.java.jvm import called

__all__ = ["written_once"]

_KINESIS = "software.amazon.kinesis."
_RESULT = "com.amazonaws.services.dynamodbv2.streamsadapter.DynamoDBStreamsDataFetcher$AdvancingResult"


def written_once(jpype: Any, make: Any) -> Any:
    """A java.util.function.Function as `make`, the adapter's own, that makes a DataFetcher for a shard. Keep it: Java
    calls it back."""
    result_of = jpype.JClass(_RESULT)
    input_of = jpype.JClass(f"{_KINESIS}lifecycle.events.ProcessRecordsInput")

    @jpype.JImplements(f"{_KINESIS}retrieval.GetRecordsResponseAdapter")
    class Answer:
        def __init__(self, answer: Any) -> None:
            self._answer = answer
            self._records: Any = None

        @called
        def records(self) -> Any:
            if self._records is None:
                self._records = self._answer.records()
            return self._records

        @called
        def millisBehindLatest(self) -> Any:  # noqa: N802  (Java's name)
            return self._answer.millisBehindLatest()

        @called
        def childShards(self) -> Any:  # noqa: N802  (Java's name)
            return self._answer.childShards()

        @called
        def nextShardIterator(self) -> Any:  # noqa: N802  (Java's name)
            return self._answer.nextShardIterator()

        @called
        def requestId(self) -> Any:  # noqa: N802  (Java's name)
            return self._answer.requestId()

        @called
        def toProcessRecordsInput(self) -> Any:  # noqa: N802  (Java's name)
            given = input_of.builder().records(self.records()).millisBehindLatest(self._answer.millisBehindLatest())
            return given.childShards(self._answer.childShards()).build()

    @jpype.JImplements(f"{_KINESIS}retrieval.polling.DataFetcher")
    class Fetcher:
        def __init__(self, fetcher: Any) -> None:
            self._fetcher = fetcher

        @called
        def getRecords(self, *given: Any) -> Any:  # noqa: N802  (Java's name)
            result = self._fetcher.getRecords(*given)
            if not isinstance(result, result_of):
                return result  # the shard's end, which has no records
            return result_of(self._fetcher, Answer(result.getResultAdapter()))

        @called
        def initialize(self, *given: Any) -> None:
            self._fetcher.initialize(*given)

        @called
        def advanceIteratorTo(self, *given: Any) -> None:  # noqa: N802  (Java's name)
            self._fetcher.advanceIteratorTo(*given)

        @called
        def restartIterator(self) -> None:  # noqa: N802  (Java's name)
            self._fetcher.restartIterator()

        @called
        def resetIterator(self, *given: Any) -> None:  # noqa: N802  (Java's name)
            self._fetcher.resetIterator(*given)

        @called
        def getStreamIdentifier(self) -> Any:  # noqa: N802  (Java's name)
            return self._fetcher.getStreamIdentifier()

        @called
        def isShardEndReached(self) -> bool:  # noqa: N802  (Java's name)
            return bool(self._fetcher.isShardEndReached())

        @called
        def getGetRecordsResponse(self, request: Any) -> Any:  # noqa: N802  (Java's name)
            return self._fetcher.getGetRecordsResponse(request)

        @called
        def getGetRecordsRequest(self, iterator: Any) -> Any:  # noqa: N802  (Java's name)
            return self._fetcher.getGetRecordsRequest(iterator)

        @called
        def getNextIterator(self, request: Any) -> Any:  # noqa: N802  (Java's name)
            return self._fetcher.getNextIterator(request)

    @jpype.JImplements("java.util.function.Function")
    class Make:
        @called
        def apply(self, config: Any) -> Any:
            return Fetcher(make.apply(config))

    return Make()
