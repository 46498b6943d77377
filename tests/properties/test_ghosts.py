"""No ghosts: whenever a load reads and writes its pages, and whatever OpenSearch forgets, index and table are equal
once the ghosts are closed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.loads.changes import loaded_version
from cdc.loads.ghosts import close_by_archive, close_by_lookup
from cdc.loads.replay import replay_to_index
from cdc.records.change import Change, StreamView
from tests.loading import LoadedTable

MAPPING = """
documents:
  - {{index: orders, where: {{live: [{{anything-but: [false]}}]}}, on_remove: {on_remove}}}
"""
KEYS = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS),
        st.tuples(st.just("leave"), KEYS),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("read"), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, 3)),
        st.tuples(st.just("deliver"), st.integers(1, 4)),
        st.tuples(st.just("forget"), st.just(0)),
    ),
    min_size=4,
    max_size=25,
)
DEPLOYMENTS = st.one_of(
    st.tuples(st.sampled_from(list(StreamView)), st.just(False)),
    st.tuples(st.just(StreamView.NEW_AND_OLD_IMAGES), st.just(True)),
)


class History:
    """Events of a table and its index; pages of a load are read and written at any moments."""

    def __init__(self, view: StreamView, *, kinesis: bool, on_remove: str) -> None:
        self.world = LoadedTable(MAPPING.format(on_remove=on_remove), view=view, kinesis=kinesis)
        self.pages: list[list[Change]] = []
        self.reads: list[int] = []

    def step(self, what: str, number: int) -> None:
        world = self.world
        world.clock.sleep(1.0)
        key = (f"k{number}", "x")
        match what:
            case "put":
                world.table.put(key, {"n": len(world.table.history), "live": True})
            case "leave":
                world.table.put(key, {"n": len(world.table.history), "live": False})
            case "delete":
                world.table.delete(key)
            case "read":
                self.reads.append(world.clock.micros)
                self.pages.append(world.page())
            case "write" if self.pages:
                world.write(self.pages.pop(number % len(self.pages)))
            case "deliver":
                world.deliver(number)
            case "forget":
                world.forget()

    def end(self) -> None:
        """All that was read is written, and all that was changed is delivered."""
        while self.pages:
            self.step("write", 0)
        self.world.deliver()
        self.world.forget()


def ended(steps: list[tuple[str, int]], deployment: tuple[StreamView, bool], on_remove: str) -> History:
    history = History(deployment[0], kinesis=deployment[1], on_remove=on_remove)
    beginning = [("put", 0), ("put", 1), ("deliver", 1), ("read", 0)]
    for what, number in [*beginning, *steps]:
        history.step(what, number)
    history.end()
    return history


@pytest.mark.parametrize("on_remove", ["delete", "tombstone"])
@given(steps=STEPS, deployment=DEPLOYMENTS)
@settings(deadline=None, max_examples=60)
def test_the_archive_closes_every_ghost(
    on_remove: str, steps: list[tuple[str, int]], deployment: tuple[StreamView, bool]
) -> None:
    history = ended(steps, deployment, on_remove)
    world = history.world
    since = world.clock.utc() - timedelta(seconds=world.clock() - history.reads[0] / 1_000_000)
    close_by_archive(world.deployment, world.place, world.compiled, since, stream=world.stream)
    assert world.documents() == world.wanted()


@pytest.mark.parametrize("on_remove", ["delete", "tombstone"])
@given(steps=STEPS, deployment=DEPLOYMENTS)
@settings(deadline=None, max_examples=60)
def test_looking_up_closes_every_ghost(
    on_remove: str, steps: list[tuple[str, int]], deployment: tuple[StreamView, bool]
) -> None:
    history = ended(steps, deployment, on_remove)
    world = history.world
    versions = (loaded_version(world.stream, history.reads[0]), loaded_version(world.stream, history.reads[-1]))
    source = world.deployment.pages.describe("shop")
    close_by_lookup(world.deployment, world.compiled, source, world.stream, versions)
    assert world.documents() == world.wanted()


@given(steps=STEPS, deployment=DEPLOYMENTS, part=st.integers(1, 30), until=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_replay_of_any_time_leaves_an_equal_index_equal(
    steps: list[tuple[str, int]], deployment: tuple[StreamView, bool], part: int, until: bool
) -> None:
    history = ended(steps, deployment, "delete")
    world = history.world
    since = world.clock.utc() - timedelta(hours=1)
    close_by_archive(world.deployment, world.place, world.compiled, since, stream=world.stream)
    world.forget()
    assert world.documents() == world.wanted()
    end = world.clock.utc() - timedelta(seconds=part) if until else None
    replay_to_index(world.deployment, "shop", since, end, stream=world.stream)
    assert world.documents() == world.wanted()
