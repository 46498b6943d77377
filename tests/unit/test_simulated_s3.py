"""The simulated S3: what faults do to its writes and looks. What it has in common with a real one: tests/contract."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from cdc import Rejected
from cdc.causes import Cause
from cdc.dead_letters.letter import letter_of
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.errors import SinkUnavailable
from cdc.testing import Always, SimulatedClock, SimulatedS3, change


@pytest.mark.parametrize(("kind", "written"), [("timeout, written", True), ("timeout, not written", False)])
def test_a_put_that_times_out_has_happened_or_has_not(kind: str, written: bool) -> None:
    clock = SimulatedClock()
    s3 = SimulatedS3(clock, Always(kind))
    with pytest.raises(ReadTimeoutError):
        s3.put_object(Bucket="b", Key="a", Body=b"1")
    clock.sleep(1000)
    assert ("a" in s3.objects, len(s3.puts)) == (written, int(written))


def test_a_put_given_up_may_arrive_later_and_its_condition_holds_then_or_not() -> None:
    clock = SimulatedClock()
    s3 = SimulatedS3(clock, Always("timeout, written late"))
    for key in ("a", "b"):
        with pytest.raises(ReadTimeoutError):
            s3.put_object(Bucket="b", Key=key, Body=b"late", IfNoneMatch="*")
    assert s3.objects == {}
    s3.faults = None
    s3.put_object(Bucket="b", Key="b", Body=b"ours", IfNoneMatch="*")
    clock.sleep(100)
    assert {key: stored.body for key, stored in s3.objects.items()} == {"a": b"late", "b": b"ours"}


@pytest.mark.parametrize(
    ("kind", "code", "status"), [("503", "SlowDown", 503), ("409", "ConditionalRequestConflict", 409)]
)
def test_a_refused_put_writes_nothing(kind: str, code: str, status: int) -> None:
    s3 = SimulatedS3(SimulatedClock(), Always(kind))
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="b", Key="a", Body=b"1", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert s3.objects == {}


def test_only_a_conditional_put_meets_a_conflict() -> None:
    s3 = SimulatedS3(SimulatedClock(), Always("409"))
    s3.put_object(Bucket="b", Key="a", Body=b"1")
    assert list(s3.objects) == ["a"]


@pytest.mark.parametrize("kind", ["503", "timeout", "no connection"])
def test_a_look_at_the_archive_may_fail_too(kind: str) -> None:
    s3 = SimulatedS3(SimulatedClock(), Always(kind))
    for look in (s3.get_object, s3.head_object):
        with pytest.raises((ClientError, BotoCoreError)):
            look(Bucket="b", Key="a")
    with pytest.raises((ClientError, BotoCoreError)):
        s3.list_objects_v2(Bucket="b")


def test_dead_letters_are_kept_or_said_not_to_be() -> None:
    clock = SimulatedClock()
    s3: Any = SimulatedS3(clock)
    store = S3DeadLetters(s3, "b")
    letter = letter_of(change({"pk": "a"}, None, {"b": b"x"}), Rejected(Cause("poison")), "opensearch", clock.utc())
    store.keep(letter)
    ((key, stored),) = s3.objects.items()
    assert key == f"dead-letters/{letter.name}"
    assert orjson.loads(stored.body)["reason"] == "poison"
    s3.faults = Always("503")
    with pytest.raises(SinkUnavailable):
        store.keep(letter)
