"""Streams that are full before the clock starts: their records come from `benchmarks.streams_server`, the tables and
the KCL's leases are the engine's.

The engine's own streams are not read, because they limit the reader. On two processors they gave 23,000 records/s to a
reader of plain bytes, and 20,000 to the KCL in Java. `benchmarks.streams_server` gave 390,000 to the same reader, and
30,000 to the KCL in Java. With other work on both processors these were 6,800 and 4,400, 270,000 and 10,200.
`python -m benchmarks.stream_rates` prints such figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import CannotRun
from benchmarks.streams_server import serving
from cdc.errors import CdcError
from local.aws import Aws, install_aws, launch_aws

__all__ = ["Filled", "engine", "filled", "make_tables", "none"]


@dataclass(frozen=True)
class Filled:
    """Tables whose streams hold `records` records in all; `variables` point AWS's SDKs at them."""

    variables: Mapping[str, str]
    tables: tuple[str, ...]
    records: int


@contextmanager
def engine(run: Path) -> Iterator[Aws]:
    """A new AWS in the folder `run`, until the block ends.

    Raises:
        CannotRun: it can't be installed, or does not start.
    """
    with ExitStack() as started:
        try:
            aws = launch_aws(run, install_aws(_silent))
            started.callback(aws.stop)
            aws.wait()
        except CdcError as error:
            raise CannotRun(error.message) from error
        yield aws


@contextmanager
def filled(aws: Aws, tables: int, items: int) -> Iterator[Filled]:
    """Make so many tables in `aws`, each with a stream that tells of `items` orders."""
    arns = make_tables(aws, _names(tables))
    with serving(arns, items) as url:
        variables = {**aws.environment(), "AWS_ENDPOINT_URL_DYNAMODB_STREAMS": url}
        yield Filled(variables, _names(tables), tables * items)


def none(aws: Aws, tables: int, items: int) -> Filled:
    """The names of such tables, of which there are none."""
    return Filled(aws.environment(), _names(tables), tables * items)


def make_tables(aws: Aws, names: Sequence[str]) -> list[str]:
    """Make empty tables; their streams' ARNs."""
    client = aws.client("dynamodb")
    return [
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]["LatestStreamArn"]
        for name in names
    ]


def _names(tables: int) -> tuple[str, ...]:
    return tuple(f"orders-{number}" for number in range(tables))


def _silent(_text: str, _done: int, _total: int) -> None:
    """Nobody watches."""
