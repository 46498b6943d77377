"""The world of a simulation: a table, simulated servers, and the real pipeline in simulated processes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import msgspec

from cdc.dead_letters.redrive import Redriver
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.delivery.shard import Payload, Running, ShardConsumer, ShardSettings
from cdc.errors import ConfigError, SinkError, SinkUnavailable
from cdc.records.change import Change
from cdc.records.decoding import Record, read_lambda
from cdc.records.stream import Stream
from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Faults, Killed
from cdc.testing.simulated.event_source_mapping import SimulatedEventSourceMapping
from cdc.testing.simulated.exports import SimulatedExports
from cdc.testing.simulated.invocation import SimulatedContext
from cdc.testing.simulated.kcl import SimulatedKcl
from cdc.testing.simulated.kinesis import SimulatedKinesis
from cdc.testing.simulated.leases import SimulatedStop, SimulatedWorker
from cdc.testing.simulated.opensearch import SimulatedOpenSearch
from cdc.testing.simulated.s3 import SimulatedS3
from cdc.testing.simulated.table import SimulatedTable
from consumers.aws_lambda.changes import ChangesFunction
from consumers.pipelines import CONSUMER
from consumers.redriving import make_redriver
from consumers.runtime import Runtime
from consumers.settings import load_settings
from tests.runtimes import simulated_runtime
from tests.simulation.checker import Checker
from tests.simulation.deployments import MappingFiles
from tests.simulation.errands import Errands
from tests.simulation.plan import Plan, key_of
from tests.simulation.truth import ARCHIVE, INDICES, LETTERS, POISON
from tests.simulation.watched import Caller, CheckedShard, WatchedClient, WatchedPipeline

__all__ = ["World"]

_T = TypeVar("_T")

_FREEZE_SECONDS = (1, 120)  # less than our indices remember a delete
_STARTS = 100
_SHAPES: tuple[Any, ...] = (1, "x", True, None, {}, {"a": 1}, {"a": {"b": "x"}}, [1, "x"], [{"a": "x"}, 2], [{"a": {}}])
_SHARD_SETTINGS = ShardSettings(flush_bytes=6_000, flush_seconds=20.0, pause_seconds=0.2)


class World:
    """Everything of one plan, with nothing happening yet."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = SimulatedClock()
        self.chance = random.Random(f"world {plan.seed}")  # noqa: S311  (not a secret)
        self.faults = Faults(plan.seed, plan.fault_rate)
        self._disturb = Faults(plan.seed + 1, plan.disturbance)
        self.table = SimulatedTable("shop", self.clock, self.chance, view=None, shards=plan.shards)
        self.s3 = SimulatedS3(self.clock)
        self.exports = SimulatedExports(self.table, self.s3, self.clock, self.chance)
        self.exported: list[str] = []
        """The locations of exports, the oldest first."""
        self.written = 0
        """The number of the last state that was written of any item."""
        self._fill()
        self.table.enable_stream(plan.view)
        self.server = SimulatedOpenSearch(self.clock, rejects=_refused)
        self.errands = Errands(self)
        self.checker = Checker(plan, self.clock, self.table, self.server, self.s3)
        self.checker.is_load = lambda: self.errands.is_running
        self.files = MappingFiles(plan, self.server, self.chance)
        self.checker.is_changed = self.files.is_changed
        self.settings = load_settings(
            {
                "CDC_OPENSEARCH_ENDPOINT": "http://simulated",
                "CDC_ARCHIVE_BUCKET": ARCHIVE,
                "CDC_DEAD_LETTER_BUCKET": LETTERS,
                "CDC_OPENSEARCH_TIMEOUT_SECONDS": "10",
                "CDC_BULK_COUNT": "7",
                "CDC_BULKS_IN_FLIGHT": "1",  # threads would end in another order each time
            }
        )
        self._callers: list[Caller] = []
        self._container: tuple[Runtime, ChangesFunction] | None = None
        self._runnings: dict[str, Running] = {}
        self._workers = 0
        self._cores = random.Random(f"cores of {plan.seed}")  # noqa: S311  (not a secret)
        """Which processes read by the core, where there is one; drawn apart, so that a seed is the same without."""
        self.kinesis: SimulatedKinesis | None = None
        self.kcl: SimulatedKcl | None = None
        self.mapping: SimulatedEventSourceMapping | None = None
        self.on_failure: list[dict[str, Any]] = []
        self._join()
        self.undisturbed(lambda: self._prepared(self.runtime(), Stream.dynamodb(self.table.stream.arn)))
        self.server.faults = self.s3.faults = self.faults

    def _fill(self) -> None:
        """Write before the stream is on: no record tells of it, and what is exported then is too old."""
        for item in range(self.plan.full):
            self.put(key_of(item))
        if self.plan.full:
            self.export()
            self.clock.sleep(100.0)
            self.table.delete(key_of(self.plan.full - 1))
            self.put(key_of(self.plan.full // 2))
            self.clock.sleep(self.chance.choice([0.1, 0.1, 100.0]))

    def export(self) -> None:
        """Somebody exports the table."""
        self.exported.append(self.exports.export())

    def put(self, key: tuple[str, str]) -> None:
        """Write an item, in a state that was never there before."""
        self.written += 1
        attributes = {"n": self.written, "status": self.chance.choice(["draft", "open", "paid"]), "tags": {"b", "a"}}
        if self.plan.poison and self.chance.random() < 0.1:
            attributes[POISON] = True
        if not self.plan.poison and self.chance.random() < 0.3:  # does not fit what the index knows from others
            attributes[self.chance.choice(["shape", "shape", "other", "_version", "a..b"])] = self.chance.choice(
                _SHAPES
            )
        self.table.put(key, attributes)

    def _join(self) -> None:
        plan = self.plan
        if plan.consumer == "kinesis":
            self.kinesis = SimulatedKinesis(self.clock, self.chance, shards=plan.shards)
            self.table.listen(self.kinesis.deliver)
        if plan.consumer in ("kcl", "lambda and kcl"):
            self.kcl = SimulatedKcl(
                self.table,
                [],
                self.clock,
                self.chance,
                lag_seconds=self.chance.choice([0.0, 1.0]),
                max_batch=self.chance.choice([3, 12]),
                steal=0.05,
            )
            self.kcl.meanwhile = self.turn
            self.new_worker()
        if plan.consumer != "kcl":
            self.mapping = SimulatedEventSourceMapping(
                self._invoke,
                self.kinesis or self.table,
                self.clock,
                self.chance,
                faults=self.faults,
                batch_size=self.chance.choice([3, 12]),
                parallelization_factor=self.chance.choice([1, 2]),
                max_retries=self.chance.choice([-1, -1, 2]),
                max_record_age_seconds=22 * 3600,
                bisect=self.chance.random() < 0.5,
                on_failure=self.on_failure,
            )

    # --- processes

    def runtime(self, asked: Callable[..., None] | None = None) -> Runtime:
        """The parts of a new process; `asked` is told of each request to a server."""
        asked = asked or self._asked
        settings = msgspec.structs.replace(self.settings, core=self._cores.choice(("auto", "off")))
        return simulated_runtime(
            settings,
            self.files.deployed(),
            self.clock,
            opensearch=WatchedClient(self.server, asked),
            archive=WatchedClient(self.s3, asked),
            dead_letters=S3DeadLetters(WatchedClient(self.s3, asked), LETTERS, at_once=1),  # type: ignore[arg-type]
            items=self.table,
        )

    def new_worker(self, worker_id: str = "") -> None:
        """One more KCL worker, or one that starts again under its id."""
        if self.kcl is None:
            return
        self._workers += 1
        name = worker_id or f"worker-{self._workers}"
        runtime = self.runtime()
        running = self._runnings[name] = Running(stop=SimulatedStop(self.kcl.pause_now))
        self.kcl.start(SimulatedWorker(name, partial(self._shard, runtime, running)))

    def _shard(
        self, runtime: Runtime, running: Running, stream_arn: str, shard_id: str, holds_lease: Callable[[], bool]
    ) -> CheckedShard:
        if self.kcl is None:
            raise AssertionError("a shard is read by the KCL")
        stream = Stream.dynamodb(stream_arn)
        if runtime.mappings not in self.files.in_use() and not runtime.tables.is_ready(stream):
            runtime = self.runtime()  # a process that was deployed meanwhile
        self.undisturbed(lambda: self._prepared(runtime, stream))

        def read(payloads: Sequence[Payload]) -> Sequence[Record]:
            return runtime.records.adapter([payload.data for payload in payloads], stream)

        consumer = ShardConsumer(
            shard=shard_id,
            table=stream.table,
            pipeline=WatchedPipeline(
                runtime.pipelines.pipeline(CONSUMER, self.kcl.pause_now),
                self.checker,
                self._callers,
                Caller(True, holds_lease),
            ),
            read=read,
            settings=_SHARD_SETTINGS,
            running=running,
            holds_lease=holds_lease,
            observe=lambda _facts: None,
            clock=self.clock,
        )
        return CheckedShard(consumer, read, self.checker)

    def _prepared(self, runtime: Runtime, stream: Stream) -> None:
        """Start a process; what would keep it from starting is mended before: that is not what is looked at here."""
        self.ready()
        for _ in range(_STARTS):
            try:
                runtime.tables.prepare(stream, self.table.keys)
            except SinkUnavailable:
                self.clock.sleep(30.0)  # its service starts it again
            except (ConfigError, SinkError) as error:
                self.checker.violated(f"the source is refused: {error.message}")
                return
            else:
                return
        self.checker.violated("a process does not start")

    def ready(self) -> None:
        """Mend what would keep a process from starting."""
        self._await_server()
        for index in INDICES:
            if self.server.indices.exists(index=f"{index}-v1"):
                self.show_alias(index)

    def _await_server(self) -> None:
        while self.server.is_down:
            self.clock.sleep(1.0)

    def _invoke(self, event: dict[str, Any], context: SimulatedContext) -> dict[str, Any]:
        if self._container is None:
            runtime = self.runtime()
            self._container = runtime, ChangesFunction(runtime)
        runtime, function = self._container
        records = [record for record in read_lambda(event) if isinstance(record, Change)]
        for record in records:
            self.undisturbed(partial(self._prepared, runtime, record.stream))
        self.checker.tried(records, "Lambda")
        self._callers.append(Caller(False, lambda: True))
        try:
            answer = function(event, context)
        except Killed:
            self._container = None
            raise
        finally:
            self._callers.pop()
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        done = next((place for place, one in enumerate(records) if one.sequence.text in failed), len(records))
        self.checker.acknowledged(records[:done])
        return answer

    def undisturbed(self, act: Callable[[], object]) -> None:
        """Do something at which no fault happens."""
        faults, self.server.faults = self.server.faults, None
        callers, self._callers = self._callers, []
        try:
            act()
        finally:
            self.server.faults, self._callers = faults, callers

    # --- what happens

    def _asked(self, *, is_write: bool) -> None:
        """A process sends a request: it may be disturbed at that very moment."""
        if not self._callers:
            return
        caller = self._callers[-1]
        if is_write and not caller.wanted():
            self.checker.violated("a shard was written after its worker knew that the lease is lost")
        match self._disturb.draw("process", {"killed": 1, "frozen": 1, "given up on": 1}):
            case "killed" if caller.is_kcl and self.kcl is not None:
                self.kcl.crash_now()
            case "killed":
                raise Killed
            case "frozen" if caller.is_kcl and self.kcl is not None:
                self.kcl.freeze_now(self._disturb.pick(*_FREEZE_SECONDS))
            case "given up on" if not caller.is_kcl and self.mapping is not None:
                self.mapping.abandon_now()

    def turn(self) -> bool:
        """One turn of one consumer; False if none had anything to do."""
        consumers = [consumer for consumer in (self.kcl, self.mapping) if consumer is not None]
        self.chance.shuffle(consumers)
        worked = any(consumer.step() for consumer in consumers)
        self._restart_failed()
        return self.errands.step() or worked

    def _restart_failed(self) -> None:
        """A process that met what it can't handle ends, and its service starts it again."""
        if self.kcl is None:
            return
        for running in self._runnings.values():
            if running.failure is not None and not isinstance(running.failure, Killed):
                self.checker.violated(f"a consumer failed: {type(running.failure).__name__}: {running.failure}")
        alive = {worker.id for worker in self.kcl.workers}
        for name in [name for name in self._runnings if name not in alive]:
            del self._runnings[name]
            if self.chance.random() < 0.5:
                self.new_worker(name)
        if not self.kcl.workers:
            self.new_worker()

    @property
    def is_drained(self) -> bool:
        """Is all that the streams hold acknowledged by every consumer?"""
        return (self.kcl is None or self.kcl.finished) and (self.mapping is None or self.mapping.drained)

    @property
    def was_interrupted(self) -> bool:
        """Did anything happen after which a batch may be cut otherwise than before?"""
        return bool(self._disturb.counts or self.errands.disturbances) or any(
            name.startswith(("lambda", "s3")) or "timeout" in name for name in self.faults.counts
        )

    @property
    def disturbances(self) -> Mapping[str, int]:
        """The faults that processes and requests have met."""
        return {**self.faults.counts, **self._disturb.counts, **self.errands.disturbances}

    def redriver(self) -> Redriver:
        """The redriver of this deployment's letters."""
        return replace(make_redriver(self.runtime()), check=lambda _stream: None, sleep=self.clock.sleep)

    def calm(self) -> None:
        """No more faults; what stands in the way is taken away in time."""
        self.faults.off()
        self._disturb.off()
        if self.kinesis is not None:
            self.kinesis.settle()

    def hide_alias(self, index: str, seconds: float) -> None:
        """Somebody takes the alias away from its index, and puts it back after a while."""

        def hide() -> None:
            from opensearchpy.exceptions import TransportError

            self._await_server()
            if self.server.indices.exists_alias(name=index):
                with suppress(TransportError):  # a blocked index keeps its alias
                    self.server.indices.delete_alias(index=f"{index}-v1", name=index)

        self.undisturbed(hide)
        self.clock.at(self.clock() + seconds, lambda: self.show_alias(index))

    def block(self, index: str, seconds: float) -> None:
        """The index refuses writes for a while, as of a full disk or by somebody's hand."""
        kind, concrete = self.chance.choice(["write", "read_only", "read_only_allow_delete"]), f"{index}-v1"
        if self.plan.rebuilds:
            concrete = self.chance.choice(self.files.concretes(index))
        self.server.block(concrete, True, kind=kind)
        self.clock.at(self.clock() + seconds, lambda: self._unblock(concrete, kind))

    def _unblock(self, concrete: str, kind: str) -> None:
        if self.server.behind(concrete):
            self.server.block(concrete, False, kind=kind)

    def show_alias(self, index: str) -> None:
        """Somebody puts it back, and removes what was made in its place."""

        def put_back() -> None:
            self._await_server()
            if self.server.indices.exists_alias(name=index):
                return
            for kind in ("write", "read_only", "read_only_allow_delete"):
                self.server.block(f"{index}-v1", False, kind=kind)
            if self.server.indices.exists(index=index):
                self.server.indices.delete(index=index)
            alias = {} if self.plan.on_remove == "delete" else _ALIVE
            self.server.indices.put_alias(index=f"{index}-v1", name=index, body=alias)

        self.undisturbed(put_back)


_ALIVE: dict[str, Any] = {"filter": {"bool": {"must_not": {"exists": {"field": "_cdc_tombstone"}}}}}


def _refused(source: Mapping[str, Any]) -> str | None:
    return "mapper_parsing_exception" if POISON in source else None
