"""The log: short lines for people, JSON for machines, and no noise of Java's that nothing follows from."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from consumers.kcl.java.jvm import _log
from consumers.logs import TextLines, configure_logging


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    """Standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
    ids=["a terminal", "a pipe", "JSON at a terminal", "text in a pipe"],
)
def test_a_terminal_gets_lines_for_people_and_all_else_json_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, form: str, stream: io.StringIO, is_json: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("INFO", form)  # type: ignore[arg-type]
    logging.getLogger("cdc").info("shop: goes on")
    line = stream.getvalue()
    if is_json:
        assert json.loads(line)["message"] == "shop: goes on"
    else:
        assert line.split(" ", 1)[1] == "shop: goes on\n"


@pytest.mark.parametrize(
    ("name", "level", "line"),
    [
        ("cdc.delivery.shard", logging.INFO, "shop: goes on"),
        ("cdc.delivery.shard", logging.WARNING, "warning: shop: goes on"),
        ("jvm.software.amazon.kinesis.Worker", logging.ERROR, "error: the KCL: shop: goes on"),
    ],
    ids=["what is as it should be", "what is not", "of Java"],
)
def test_a_line_for_people_has_time_level_and_message(name: str, level: int, line: str) -> None:
    record = logging.LogRecord(name, level, "file", 1, "shop: %s", ("goes on",), None)
    time, _, rest = TextLines().format(record).partition(" ")
    assert (len(time), rest) == (8, line)


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("Not able to assign all expiredOrUnAssignedLeases", "DEBUG"),
        ("Setting the delay to complete a shard sync task as 0.", "DEBUG"),
        ("leasesRecoveryAuditorInconsistencyConfidenceThreshold is greater than 0. DynamoDB Streams …", "DEBUG"),
        ("Incomplete hash range found for stream", "DEBUG"),
        ("Failed to renew a lease", "WARNING"),
    ],
)
def test_warnings_of_the_kcl_from_which_nothing_follows_are_for_debugging(
    caplog: pytest.LogCaptureFixture, message: str, level: str
) -> None:
    caplog.set_level("DEBUG")
    _log("software.amazon.kinesis.X", 900, message, None)
    assert [(record.levelname, record.name) for record in caplog.records] == [(level, "jvm.software.amazon.kinesis.X")]
