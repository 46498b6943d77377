"""A load by many functions at once: planned, done unit by unit, counted and brought to its verdict, as Step Functions
asks for it (`deploy/backfill/template.yaml`).

Everything that has to be known lies in S3 beside the archive: what a step answers is for people and for the next step.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event as Stop
from threading import Timer
from typing import TYPE_CHECKING, Any

import msgspec

from cdc.errors import ConfigError
from consumers.aws_lambda.startup import Answer, Context, Event, Handler, at_init, open_function

if TYPE_CHECKING:
    from cdc.loads.backfill import Backfill
    from cdc.loads.deployment import Deployment
    from cdc.loads.jobs import Jobs, S3Objects
    from cdc.loads.plan import Plan, Unit
    from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
    from consumers.runtime import Runtime

__all__ = ["LoadFunction", "LoadRequest", "load_function"]

log = logging.getLogger(__name__)

_KEPT_SECONDS = 60.0
"""So much of an invocation's time is left for the page that is being written when it stops."""


class PlanStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="plan"):
    """Begin a load, or go on with the one that is not finished."""

    request: LoadRequest
    concurrency: int
    """So many functions load at once."""


class LoadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The input of an execution."""

    table: str
    index: str | None = None
    """Only this index of the mapping."""
    export: str | None = None
    """The location of a finished export to load from."""
    max_read_units: float | None = None
    """Read units a second, of all functions together."""
    verify: bool = True
    """Verify at the end; leave that to `cdc verify` where a table is too large for one function."""
    kinesis_stream_arn: str | None = None
    """The stream that carries the table's changes; default: its own."""


class UnitStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="unit"):
    """Load one unit."""

    item: dict[str, Any]
    """A line of the file of open units."""


class OpenStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="open"):
    """Look which units are not done."""

    state: dict[str, Any]


class VerdictStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="verdict"):
    """Remove ghosts and verify."""

    state: dict[str, Any]


class OpenUnits(msgspec.Struct, frozen=True):
    """The state of an execution: its job, and where the open units are listed, as JSON Lines."""

    table: str
    job: str
    bucket: str
    key: str
    open: int
    round: int
    verify: bool
    concurrency: int
    """So many functions load at once."""
    stopped: int = 0
    """How often the verdict did not come to its end in time."""
    kinesis_stream_arn: str | None = None


class OpenUnit(msgspec.Struct, frozen=True):
    """A line of the list: one unit, for one function."""

    table: str
    job: str
    unit: dict[str, Any]
    max_read_units: float | None = None
    kinesis_stream_arn: str | None = None


_Step = PlanStep | UnitStep | OpenStep | VerdictStep


@dataclass(frozen=True)
class LoadFunction:
    """Does one step of a load."""

    deployment: Deployment
    jobs: Jobs

    def __call__(self, event: Event, context: Context) -> Answer:
        """The answer of a step, which is the state of the execution for the next one.

        Raises:
            ConfigError: the event or the deployment is wrong, or the load may not go on.
            SinkUnavailable: a server is out of reach; the step may be tried again.
        """
        match _step_of(event):
            case PlanStep() as step:
                return self._planned(step)
            case UnitStep(item=item):
                return self._unit(_converted(item, OpenUnit), context)
            case OpenStep(state=state):
                return self._open(_converted(state, OpenUnits))
            case VerdictStep(state=state):
                return self._verdict(_converted(state, OpenUnits), context)

    def _planned(self, step: PlanStep) -> Answer:
        request = step.request
        load = self._load(request.kinesis_stream_arn, request.index)
        job = self.jobs.unfinished(request.table)
        if job is None:
            planner = load.planner
            plan, units = (
                planner.of_export(request.table, request.export) if request.export else planner.of_table(request.table)
            )
            load.begin(plan, units)
            job = plan.job
        each = None if request.max_read_units is None else request.max_read_units / max(1, step.concurrency)
        state = OpenUnits(
            request.table,
            job,
            "",
            "",
            0,
            0,
            request.verify,
            step.concurrency,
            kinesis_stream_arn=request.kinesis_stream_arn,
        )
        return self._listed(state, each)

    def _unit(self, item: OpenUnit, context: Context) -> Answer:
        from cdc.loads.plan import Unit

        load = self._load(item.kinesis_stream_arn, None, item.max_read_units)
        with _stopped_in_time(load.stop, context):
            cursor = load.run_unit(item.table, item.job, msgspec.convert(item.unit, Unit))
        log.info("%s: unit %s: %d items, %s", item.table, cursor.unit, cursor.items, "done" if cursor.done else "open")
        return {"unit": cursor.unit, "done": cursor.done, "items": cursor.items, "outcomes": cursor.outcomes}

    def _open(self, state: OpenUnits) -> Answer:
        objects = self._objects
        first = (objects.read(state.key.removeprefix(objects.prefix)) or b"").partition(b"\n")[0]
        each = msgspec.json.decode(first, type=OpenUnit).max_read_units if first else None
        return self._listed(msgspec.structs.replace(state, round=state.round + 1), each)

    def _listed(self, state: OpenUnits, each: float | None) -> Answer:
        """List the units that are not done."""
        plan, units = self.jobs.plan(state.table, state.job)
        cursors = self.jobs.cursors(state.table, state.job)
        left = [unit for unit in units if unit.name not in cursors or not cursors[unit.name].done]
        name = f"{plan.table}/{plan.job}/open-{state.round:03d}.jsonl"
        lines = [msgspec.json.encode(self._line(plan, unit, each, state)) for unit in left]
        self._objects.write(name, b"".join(line + b"\n" for line in lines))
        log.info("%s: round %d: %d of %d units are open", plan.table, state.round, len(left), len(units))
        listed = msgspec.structs.replace(
            state, bucket=self._objects.bucket, key=self._objects.prefix + name, open=len(left)
        )
        return dict(msgspec.to_builtins(listed))

    def _line(self, plan: Plan, unit: Unit, each: float | None, state: OpenUnits) -> OpenUnit:
        return OpenUnit(plan.table, plan.job, msgspec.to_builtins(unit), each, state.kinesis_stream_arn)

    def _verdict(self, state: OpenUnits, context: Context) -> Answer:
        from cdc.loads.unit import LoadStopped

        load = self._load(state.kinesis_stream_arn, None)
        facts = msgspec.to_builtins(state)
        try:
            with _stopped_in_time(load.stop, context):
                result = load.run(state.table, state.job, verify=state.verify)
        except LoadStopped:
            return {**facts, "finished": False, "stopped": state.stopped + 1}
        findings = result.findings
        rejected = result.loaded.outcomes.get("rejected", 0)
        verdict = f"{result.loaded.items:,} items loaded, {rejected:,} dead letters; not verified"
        if findings is not None:
            verdict = findings.verdict
        log.info("%s: %s", state.table, verdict)
        remaining = 0 if findings is None else findings.remaining
        return {**facts, "finished": True, "items": result.loaded.items, "remaining": remaining, "verdict": verdict}

    def _load(self, kinesis: str | None, index: str | None, each: float | None = None) -> Backfill:
        from cdc.loads.backfill import Backfill, LoadOptions

        options = LoadOptions(workers=1, max_read_units=each, kinesis_stream_arn=kinesis, index=index)
        return Backfill(self.deployment, self.jobs, options, Stop())

    @property
    def _objects(self) -> S3Objects:
        from cdc.loads.jobs import S3Objects

        if not isinstance(self.jobs.objects, S3Objects):
            raise ConfigError("the plans of loads need a bucket", remedy="Set CDC_ARCHIVE_BUCKET.")
        return self.jobs.objects


def load_function() -> Handler:
    """The handler of the state machine's steps.

    Raises:
        ConfigError: in Lambda: the deployment is wrong, or no mapping names an index.
    """
    return at_init(lambda: open_function(None, _respond_with, lambda _event: ""))


def _respond_with(runtime: Runtime, _metrics: EmbeddedMetrics | None) -> Handler:
    from consumers.loading import deployment_of, jobs_of

    return LoadFunction(deployment_of(runtime), jobs_of(runtime))


def _step_of(event: Event) -> _Step:
    step: _Step = _converted(event, _Step)
    return step


def _converted(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)  # substitutions of a template are texts
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"the event is no step of a load: {error}",
            remedy=f"Start the state machine with {json.dumps({'table': 'shop'})}; see deploy/backfill/template.yaml.",
        ) from None


@contextmanager
def _stopped_in_time(stop: Stop, context: Context) -> Iterator[None]:
    """Stop the load behind the page that it is at, before Lambda ends the invocation."""
    timer = Timer(max(0.0, context.get_remaining_time_in_millis() / 1000 - _KEPT_SECONDS), stop.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
