"""Spans by OpenTelemetry's own SDK: for decoding, each sink, the archive; and nothing of an item."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cdc import Applied, Deadline, Outcome, Rejected
from cdc.causes import Cause
from cdc.delivery.traced import Traced
from cdc.delivery.wrapper import SinkWrapper
from cdc.errors import ConfigError, SinkUnavailable
from cdc.testing import MemorySink, ScriptedSink, change
from cdc.tracing import UNTRACED, Spans, opentelemetry_spans
from consumers.pipelines import LAMBDA
from consumers.runtime import Runtime, open_runtime
from consumers.settings import load_settings
from tests.events import payload
from tests.invoking import Deployment


class Exported:
    """A provider of tracers of its own, and the spans that ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans: Spans = opentelemetry_spans(provider)

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def exported() -> Exported:
    return Exported()


def test_decoding_each_sink_and_the_archive_are_spans_of_an_invocation(exported: Exported) -> None:
    deployment = Deployment(spans=exported.spans)
    deployment.invoke(payload("lambda-dynamodb"))
    named = [(span.name, dict(span.attributes or {}).get("cdc.sink", "")) for span in exported.ended]
    assert named == [
        ("cdc.decode", ""),
        ("cdc.write", "opensearch"),
        ("cdc.write", "archive"),
        ("cdc.flush", "opensearch"),
        ("cdc.flush", "archive"),
    ]


def test_a_write_tells_how_many_changes_had_which_outcome(exported: Exported) -> None:
    answers: Iterator[Outcome] = iter([Applied(), Applied(), Rejected(Cause("no"))])
    sink = Traced(ScriptedSink(lambda _: next(answers)), exported.spans)
    sink.write([change({"pk": f"k{n}"}, None, {}, sequence=n + 1) for n in range(3)], Deadline.after(1))
    (span,) = exported.ended
    assert dict(span.attributes or {}) == {
        "cdc.sink": "scripted",
        "cdc.changes": 3,
        "cdc.applied": 2,
        "cdc.rejected": 1,
    }


def test_a_failure_is_told_by_its_kind_alone(exported: Exported) -> None:
    class Unflushable(MemorySink):
        def flush(self, deadline: Deadline) -> None:
            raise SinkUnavailable("memory", "the item secret-7 is in the way")

    with pytest.raises(SinkUnavailable):
        Traced(Unflushable(), exported.spans).flush(Deadline.after(1))
    (span,) = exported.ended
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "SinkUnavailable")
    assert not span.events
    assert "secret" not in span.to_json()


def test_spans_hold_nothing_of_an_item(exported: Exported) -> None:
    deployment = Deployment(spans=exported.spans)
    deployment.invoke(payload("lambda-dynamodb"))
    text = "".join(span.to_json() for span in exported.ended)
    assert not any(word in text for word in ("CUSTOMER#42", "ORDER#", "Zürich", "total"))


def test_off_there_is_no_traced_sink_and_no_import() -> None:
    runtimes = {
        switch: open_runtime(load_settings({"CDC_MAPPINGS": "none", "CDC_TRACING": switch}), own=MemorySink)
        for switch in ("true", "false")
    }
    assert runtimes["false"].pipelines.spans is UNTRACED
    assert not any(isinstance(sink, Traced) for sink in around(runtimes["false"]))
    assert any(isinstance(sink, Traced) for sink in around(runtimes["true"]))
    code = "import consumers.aws_lambda.changes, sys; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def around(runtime: Runtime) -> Iterator[Any]:
    """The wrappers of the one sink, from the outside in."""
    (sink,) = runtime.pipelines.pipeline(LAMBDA).sink.sinks  # type: ignore[attr-defined]
    while isinstance(sink, SinkWrapper):
        yield sink
        sink = sink.sink


def test_without_the_api_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[tracing\]'"):
        open_runtime(load_settings({"CDC_MAPPINGS": "none", "CDC_TRACING": "true"}), own=MemorySink)
