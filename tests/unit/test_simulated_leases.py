"""Leases that are lost, and workers that do not know it yet: the simulated KCL's zombies."""

from __future__ import annotations

from tests.unit.simulated import Kcl, Processor, World, drain


def test_a_stolen_lease_is_reported_late_and_its_checkpoint_is_refused() -> None:
    world = World(12)
    workers = Kcl(world, "a", "b", max_batch=2)
    workers.kcl.step()
    (lease,) = workers.kcl.leases.values()
    first = lease.owner
    other = next(worker for worker in workers.kcl.workers if worker.id != first)
    steals = iter([True])

    def within(processor: Processor) -> None:
        if next(steals, False):
            workers.kcl.steal(lease, other)
            assert not processor.holds_lease()

    workers.within = within
    workers.kcl.step()
    assert workers.events("lost", "refused") == [(first, "refused")]
    drain(workers.kcl)
    assert (first, "lost") in workers.events("lost")
    assert workers.numbers(other.id) == [write.sequence for write in world.table.history]


def test_a_loss_may_be_known_only_after_a_lag() -> None:
    world = World(4)
    workers = Kcl(world, "a", "b", lag_seconds=3.0)
    workers.kcl.step()
    (lease,) = workers.kcl.leases.values()
    assert lease.holding is not None
    holds = lease.holding.holds_lease
    other = next(worker for worker in workers.kcl.workers if worker.id != lease.owner)
    workers.kcl.steal(lease, other)
    assert holds()
    world.clock.sleep(3.0)
    assert not holds()


def test_a_zombie_goes_on_in_the_middle_of_its_batch_after_another_has_taken_the_lease() -> None:
    world = World(6)
    workers = Kcl(world, "a", "b", max_batch=6)
    freezes = iter([True])
    woke: list[tuple[str, list[str]]] = []

    def within(processor: Processor) -> None:
        if next(freezes, False):
            workers.kcl.freeze_now(40.0)
            woke.append((processor.name, workers.numbers()))
            assert not processor.holds_lease()

    workers.within = within
    drain(workers.kcl)
    ((zombie, seen),) = woke
    other = "b" if zombie == "a" else "a"
    assert workers.numbers(other) == [write.sequence for write in world.table.history]
    assert len(seen) > len(workers.numbers(zombie)[:6])  # the other had its turns meanwhile
    assert (zombie, "refused") in workers.events("refused")
    assert (zombie, "lost") in workers.events("lost")


def test_a_short_freeze_costs_nothing() -> None:
    world = World(6)
    workers = Kcl(world, "a", "b")
    freezes = iter([True])
    workers.within = lambda _: workers.kcl.freeze_now(5.0) if next(freezes, False) else None
    drain(workers.kcl)
    assert workers.numbers() == [write.sequence for write in world.table.history]
    assert workers.events("lost", "refused") == []


def test_a_worker_frozen_for_longer_than_the_fail_over_has_lost_its_leases_though_nobody_took_them() -> None:
    world = World(6)
    workers = Kcl(world, "a")
    workers.kcl.step()
    workers.kcl.freeze("a", 60.0)
    drain(workers.kcl)
    assert ("a", "lost") in workers.events("lost")
    (lease,) = workers.kcl.leases.values()
    assert lease.checkpoint == int(world.table.history[-1].sequence)


def test_a_process_killed_while_it_stands_still_never_wakes() -> None:
    world = World(6)
    workers = Kcl(world, "a", max_batch=6)
    freezes = iter([True])
    woke: list[str] = []

    def within(processor: Processor) -> None:
        if next(freezes, False):
            workers.kcl.freeze_now(40.0)
            woke.append(processor.name)

    workers.within = within
    kills = iter([True])
    workers.kcl.meanwhile = lambda: workers.kcl.crash("a") if next(kills, False) else None
    drain(workers.kcl)
    assert woke == []
    assert workers.kcl.workers == []
