"""A round: a fresh table is written and followed, a fault strikes, all is drained and judged."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import tenacity

from tests.chaos.consumer import Consumer, Deployment
from tests.chaos.faults import FAULTS, Fault, Struck
from tests.chaos.judge import Expected, expected_of, judge
from tests.chaos.load import Load

__all__ = ["Failure", "Result", "drawn", "play"]

_WARM_UP, _AFTER = 300, 300
"""Records settled before the fault, and after it while the load goes on."""
_DRAIN_SECONDS = 150.0


@dataclass(frozen=True)
class Result:
    """How a round went. `replayed`: records settled more than once; `superseded`: changes that met a newer state,
    in their own batch mostly."""

    fault: str
    changes: int
    changes_per_second: int
    documents: int
    replayed: int
    superseded: int
    seconds: float


class Failure(AssertionError):
    """A round did not end well; the message has what differs, and the ends of the logs."""


def drawn(seed: int, rounds: int) -> list[Fault]:
    """The faults of so many rounds: none twice before each has been drawn, those alone before those with a kill."""
    chance = random.Random(seed)  # noqa: S311  (not a secret)
    found: list[Fault] = []
    while len(found) < rounds:
        alone, killed = ([one for one in FAULTS if one.name.endswith("killed in it") is kind] for kind in (False, True))
        found += [*chance.sample(alone, len(alone)), *chance.sample(killed, len(killed))]
    return found[:rounds]


def play(deployment: Deployment, fault: Fault, seed: int) -> Result:
    """Play one round on a deployment that nothing has been done with.

    Raises:
        Failure: something is lost, stale, twice or not to be expected; or nothing happens any more.
    """
    began = time.monotonic()
    load = Load(deployment.world.client("dynamodb"), deployment.name, seed)
    consumers = (Consumer(deployment, "first"), Consumer(deployment, "second"))
    try:
        consumers[0].start()
        load.start()
        try:
            consumers[0].await_progress(_WARM_UP)
            fault.strike(Struck(deployment, load, *consumers))
            _await_progress(consumers)
        finally:
            load.stop()
        expected = expected_of(deployment)
        _drain(deployment, expected)
        for consumer in consumers:
            if consumer.is_running:
                code = consumer.stop()
                assert code == 0, f"the consumer {consumer.worker} ended with {code}"
        verdict = judge(deployment, expected, order_as_read=True)
        assert verdict.is_good, "\n".join(verdict.differences[:20])
    except Exception as error:
        raise Failure(_told(fault, error, consumers)) from error
    finally:
        for consumer in consumers:
            if consumer.is_running:
                consumer.kill()
    return Result(
        fault.name,
        verdict.changes,
        round(verdict.changes / load.seconds),
        verdict.documents,
        _settled(consumers) - verdict.changes,
        sum(consumer.superseded for consumer in consumers),
        time.monotonic() - began,
    )


def _settled(consumers: Sequence[Consumer]) -> int:
    return sum(consumer.settled for consumer in consumers)


def _await_progress(consumers: Sequence[Consumer]) -> None:
    """Wait until the consumer that runs after the fault goes on."""
    wanted = _settled(consumers) + _AFTER
    running = next(consumer for consumer in consumers if consumer.is_running)
    running.until(lambda: _settled(consumers) >= wanted, f"{_AFTER} records after the fault")


def _drain(deployment: Deployment, expected: Expected) -> None:
    """Return when all is as expected, or after a time that is more than enough."""
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda verdict: not verdict.is_good),
        wait=tenacity.wait_fixed(0.5),
        stop=tenacity.stop_after_delay(_DRAIN_SECONDS),
        retry_error_callback=lambda _state: None,
    )(judge, deployment, expected)


def _told(fault: Fault, error: Exception, consumers: Sequence[Consumer]) -> str:
    tails = [
        f"--- the end of {consumer.log_path}\n{consumer.process.tail()}" for consumer in consumers if consumer.process
    ]
    return "\n".join([f"{fault.name}: {type(error).__name__}: {error}", *tails])
