"""Exit codes: a supervisor starts again where that may help, and the documents say the same."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError, NoCredentialsError

from cdc.errors import (
    CdcError,
    ConfigError,
    ConsumerFailed,
    MappingError,
    SinkMisconfigured,
    SinkUnavailable,
)
from consumers.exit_codes import after_signal, exit_code_of
from consumers.kcl.leases.lease_table import refused
from consumers.kcl.sources.refusals import refusal
from tests.unit.test_lease_table import JavaError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (CdcError("x"), 1),
        (ConsumerFailed("x"), 1),
        (SinkUnavailable("opensearch", "x"), 1),
        (ConfigError("x"), 2),
        (MappingError(("x",)), 2),
        (SinkMisconfigured("archive", "x"), 2),
    ],
    ids=["in order", "any", "a shard", "out of reach", "set-up", "mapping", "sink"],
)
def test_the_code_says_whether_the_same_again_may_succeed(error: CdcError | None, code: int) -> None:
    assert exit_code_of(error) == code


def test_a_second_signal_has_the_code_that_shells_give_it() -> None:
    assert (after_signal(signal.SIGINT), after_signal(signal.SIGTERM)) == (130, 143)


def answered(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "DescribeTable")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EndpointConnectionError(endpoint_url="http://nobody"), 1),
        (ConnectTimeoutError(endpoint_url="http://nobody"), 1),
        (answered(500, "InternalServerError"), 1),
        (answered(400, "ThrottlingException"), 1),
        (answered(400, "AccessDeniedException"), 2),
        (NoCredentialsError(), 2),
    ],
    ids=["nobody there", "no answer", "a failure", "throttled", "denied", "no credentials"],
)
def test_aws_that_is_out_of_reach_at_the_start_is_no_wrong_set_up(error: Exception, code: int) -> None:
    assert exit_code_of(refusal("it can't be asked", error, "Check it.")) == code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Unable to execute HTTP request: Connection refused", 1),
        ("not authorized to perform: dynamodb:Scan on resource: arn", 2),
        ("1 validation error detected: tableName", 2),
    ],
)
def test_a_lease_table_that_is_out_of_reach_is_no_wrong_set_up(message: str, code: int) -> None:
    assert exit_code_of(refused(JavaError("failed", JavaError(message)), "app")) == code


def test_the_documents_have_every_code() -> None:
    text = Path("docs/consumer.md").read_text()
    table = re.search(r"## Exit codes\n(.*?)\n## ", text, re.DOTALL)
    assert table is not None
    assert re.findall(r"^\| `(\d+)` \|", table[1], re.MULTILINE) == ["0", "1", "2", "3", "130", "143"]
