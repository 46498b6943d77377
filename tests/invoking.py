"""A Lambda function on simulated servers, invoked with events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.dead_letters.s3 import S3DeadLetters
from cdc.errors import NothingSettled
from cdc.mappings.files import parse_mapping
from cdc.mappings.model import Mappings
from cdc.observer import UNOBSERVED, Observer
from cdc.testing import SimulatedClock, SimulatedOpenSearch, SimulatedS3, stream_record
from cdc.tracing import UNTRACED, Spans
from consumers.aws_lambda.changes import ChangesFunction
from consumers.settings import load_settings
from tests.runtimes import simulated_runtime

__all__ = ["Context", "Deployment", "event_of", "records"]

POISON = "poison"
"""The attribute that OpenSearch can't store."""


@dataclass
class Context:
    """Lambda's, on a clock that is advanced."""

    clock: SimulatedClock
    ends_at: float
    aws_request_id: str = "c9b8fa9f-5a7f"

    def get_remaining_time_in_millis(self) -> int:
        return round((self.ends_at - self.clock()) * 1000)


@dataclass
class Deployment:
    """A function and its servers; an empty name of a bucket takes the archive or the dead letters away."""

    mapping: str = "table: shop\ndocuments: [{index: orders, on_unfit: dead_letter}]"
    environment: Mapping[str, str] = field(default_factory=dict)
    observer: Observer = UNOBSERVED
    spans: Spans = UNTRACED
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    server: Any = None
    s3: Any = None

    def __post_init__(self) -> None:
        self.server = self.server or SimulatedOpenSearch(self.clock, rejects=refuses_poison)
        self.s3 = self.s3 or SimulatedS3(self.clock)
        self.letters = S3DeadLetters(self.s3, "letters", at_once=1)
        settings = load_settings(
            {
                "CDC_OPENSEARCH_ENDPOINT": "http://simulated",
                "CDC_ARCHIVE_BUCKET": "archive",
                "CDC_DEAD_LETTER_BUCKET": "letters",
                **self.environment,
            }
        )
        self.runtime = simulated_runtime(
            settings,
            Mappings((parse_mapping(self.mapping, source="shop.yml"),)),
            self.clock,
            opensearch=self.server,
            archive=self.s3 if settings.archive_bucket else None,
            dead_letters=self.letters if settings.dead_letter_bucket else None,
            observer=self.observer,
            spans=self.spans,
        )
        self.function = ChangesFunction(self.runtime)

    def invoke(self, event: Mapping[str, Any], seconds: float = 60.0) -> list[str]:
        """The identifiers of what failed; `took` is how long it took, `left` what was left of its time."""
        context = Context(self.clock, self.clock() + seconds)
        began = self.clock()
        try:
            answer = self.function(event, context)
        except NothingSettled:
            return [_first_identifier(event)]
        finally:
            self.took = self.clock() - began
            self.left = context.get_remaining_time_in_millis() / 1000
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    @property
    def archived(self) -> list[str]:
        return [key for key in self.s3.objects if key.startswith("cdc/")]

    @property
    def kept(self) -> list[str]:
        return list(self.letters.keys())


def refuses_poison(source: Mapping[str, Any]) -> str | None:
    # in whatever field it stands: what is set aside is refused too
    return "mapper_parsing_exception" if POISON in repr(source) else None


def records(count: int, *poison: int) -> list[dict[str, Any]]:
    """New items, numbered from 1; those of `poison` can't be indexed."""
    return [
        stream_record({"pk": f"k{n}"}, None, {POISON: "x"} if n in poison else {"n": n}, sequence=n)
        for n in range(1, count + 1)
    ]


def event_of(*given: Mapping[str, Any]) -> dict[str, Any]:
    """An event as the event source mapping sends it."""
    return {"Records": list(given)}


def _first_identifier(event: Mapping[str, Any]) -> str:
    first = event["Records"][0]
    return str(first["dynamodb"]["SequenceNumber"] if "dynamodb" in first else first["kinesis"]["sequenceNumber"])
