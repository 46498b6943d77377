"""The audit as a Lambda on a schedule: random items of its tables are compared with their documents."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from cdc.errors import ConfigError
from consumers.aws_lambda.startup import Answer, Context, Event, Handler, at_init, open_function

if TYPE_CHECKING:
    from cdc.loads.deployment import Deployment
    from cdc.verification.audit import Audit, AuditFigure
    from consumers.aws_lambda.embedded_metrics import EmbeddedMetrics
    from consumers.runtime import Runtime

__all__ = ["AuditFunction", "AuditRequest", "audit_function"]

log = logging.getLogger(__name__)

_AT_ONCE = 100
"""Items of one look."""
_SETTLE_SECONDS = 30.0
"""A difference is looked at again so much later: a function that writes changes may have been behind by less."""
_LOOK_SECONDS = 120.0
"""With less time left no further look begins."""


class AuditRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event of the schedule."""

    tables: tuple[str, ...]
    """Names, or ARNs."""
    items: int = 500
    """Random items of each, and as many random documents of each index."""
    repair: bool | None = None
    """Mend what differs; None: as `CDC_AUDIT_REPAIR` says."""
    kinesis_stream_arn: str = ""
    """The stream that carries the tables' changes; empty: each has its own that is on."""

    @classmethod
    def of(cls, event: Event) -> AuditRequest:
        """Read an event.

        Raises:
            ConfigError: it is none of ours; names the field.
        """
        try:
            return msgspec.convert(event, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"the event is no request of an audit: {error}",
                remedy='Let the schedule send {"tables": ["shop"], "items": 500}.',
            ) from None


@dataclass(frozen=True)
class AuditFunction:
    """Audits the tables that an event names, as far as the time allows."""

    deployment: Deployment
    repair: bool
    metrics: EmbeddedMetrics | None = None

    def __call__(self, event: Event, context: Context) -> Answer:
        """The figures of this invocation: `{"audits": [{"table": …, "checked": …, "drift_ppm": …}, …]}`.

        Raises:
            ConfigError: the event or the deployment is wrong, or a table may not be read.
            SinkUnavailable: a table or the index is out of reach.
        """
        request = AuditRequest.of(event)

        def left() -> float:
            return context.get_remaining_time_in_millis() / 1000

        figures = []
        for number, table in enumerate(request.tables):
            kept = left() * (1 - 1 / (len(request.tables) - number))  # each table has its share of the time
            figures.append(self._looked(self._audit(table, request), request.items, left, kept))
        return {"audits": [figure.facts() for figure in figures]}

    def _audit(self, table: str, request: AuditRequest) -> Audit:
        from cdc.records.stream import Stream
        from cdc.verification.audit import Audit

        name, arn = table.rpartition(":table/")[2], request.kinesis_stream_arn
        repair = self.repair if request.repair is None else request.repair
        return Audit(self.deployment, name, Stream.kinesis(arn, name) if arn else None, repair=repair)

    def _looked(self, audit: Audit, items: int, left: Callable[[], float], kept: float) -> AuditFigure:
        """The figure of as many looks as there is time for, one at least. `kept`: seconds for other tables."""
        for start in range(0, items, _AT_ONCE):
            if start and left() - kept < _LOOK_SECONDS:
                log.warning("%s: the time was up after %d of %d items", audit.table, start, items)
                break
            audit.look(min(_AT_ONCE, items - start), settle_seconds=_SETTLE_SECONDS)
        figure = audit.figure
        tell = log.warning if figure.left else log.info
        tell("%s: audited: %s", figure.table, figure.verdict)
        if self.metrics is not None:
            self.metrics.audited(figure)
        return figure


def audit_function() -> Handler:
    """The handler of a schedule that sends `AuditRequest`s.

    Raises:
        ConfigError: in Lambda: the deployment is wrong, or no mapping names an index.
    """
    return at_init(lambda: open_function(None, _respond_with, lambda _event: ""))


def _respond_with(runtime: Runtime, metrics: EmbeddedMetrics | None) -> Handler:
    from consumers.loading import deployment_of

    return AuditFunction(deployment_of(runtime), runtime.settings.audit_repair == "on", metrics)
