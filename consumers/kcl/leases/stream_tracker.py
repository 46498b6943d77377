"""The KCL's tracker of streams: which there are, from where each is read, under which name the KCL has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumers.kcl.java.jvm import called
from consumers.kcl.sources.retrieval import Retrieval

__all__ = ["StreamNames", "make_tracker"]

_KINESIS = "software.amazon.kinesis."


@dataclass(slots=True)
class StreamNames:
    """The KCL's name of each stream that it was told of, and its ARN.

    The KCL keeps what syncs a stream's shards in a public map, and makes what is not in it: KCL 3.5 by a method of its
    factory that the adapter 2.0.1 does not override, and what that makes can't list the shards of DynamoDB ("not
    implemented"): a stream that is found while running would never be read. So the map is filled first.
    """

    arns: dict[str, str] = field(default_factory=dict)
    from_latest: set[str] = field(default_factory=set)
    """ARNs of streams of which only what comes is read."""
    make_sync: Callable[[Any], Any] | None = None
    syncs: Any = None

    def told(self, arn: str, config: Any) -> None:
        """To be called before the KCL gets to know the stream's config."""
        self.arns[str(config.streamIdentifier().serialize())] = arn
        if self.make_sync is not None and not self.syncs.containsKey(config):
            self.syncs.put(config, self.make_sync(config))


def make_tracker(jpype: Any, streams: Callable[[], Sequence[str]], names: StreamNames, retrieval: Retrieval) -> Any:
    """A MultiStreamTracker that asks `streams` for ARNs again and again. Keep it: Java calls it back."""
    java = jpype.JClass
    positions = java(f"{_KINESIS}common.InitialPositionInStream")
    latest, oldest = (
        java(f"{_KINESIS}common.InitialPositionInStreamExtended").newInitialPosition(position)
        for position in (positions.LATEST, positions.TRIM_HORIZON)
    )
    keep_leases = java(f"{_KINESIS}processor.FormerStreamsLeasesDeletionStrategy$NoLeaseDeletionStrategy")()

    @jpype.JImplements(f"{_KINESIS}processor.MultiStreamTracker")
    class Tracker:
        @called
        def streamConfigList(self) -> Any:  # noqa: N802  (Java's name)
            found = java("java.util.ArrayList")()
            for arn in streams():
                config = retrieval.config(arn, latest if arn in names.from_latest else oldest)
                names.told(arn, config)
                found.add(config)
            return found

        @called
        def formerStreamsLeasesDeletionStrategy(self) -> Any:  # noqa: N802  (Java's name)
            return keep_leases

        @called
        def isMultiStream(self) -> bool:  # noqa: N802  (Java's name)
            return True

        @called
        def orphanedStreamInitialPositionInStream(self) -> Any:  # noqa: N802  (Java's name)
            return oldest

        @called
        def createStreamConfig(self, identifier: Any) -> Any:  # noqa: N802  (Java's name)
            """The config of a stream that a lease names: another worker may know a new one earlier."""
            config = java(f"{_KINESIS}common.StreamConfig")(identifier, oldest)
            arn = retrieval.arn(str(identifier.serialize()))
            if arn is not None:
                names.told(arn, config)
            return config

    return Tracker()
