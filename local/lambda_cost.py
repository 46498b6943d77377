"""`python -m local.lambda_cost`: dollars for a million changes through the Lambda, by a measured duration and public
prices."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

import typer

__all__ = ["ARCHITECTURES", "Batches", "Cost", "Prices", "app", "cost_of"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Architecture = Literal["arm64", "x86_64"]

ARCHITECTURES: dict[Architecture, float] = {"arm64": 0.0000133334, "x86_64": 0.0000166667}
"""Dollars for a gigabyte-second ("AWS Lambda Pricing", the first tier in most regions)."""

_MILLION = 1_000_000
_MONTH_SECONDS = 730 * 3600  # as AWS's own calculator counts


@dataclass(frozen=True, slots=True)
class Prices:
    """In dollars: a million requests, a gigabyte-second, a thousand PUT requests to S3."""

    requests: float = 0.20
    gb_second: float = ARCHITECTURES["arm64"]
    puts: float = 0.005


@dataclass(frozen=True, slots=True)
class Batches:
    """How the changes come: so many an invocation, on average. `puts`: objects that it writes into the archive."""

    changes: float
    duration_ms: float
    memory_mb: int
    puts: float = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars for a million changes."""

    requests: float
    compute: float
    archive: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.requests + self.compute + self.archive


_PUBLIC = Prices()


def cost_of(batches: Batches, prices: Prices) -> Cost:
    """The cost of a million changes in such batches. Lambda reads DynamoDB Streams free of charge; OpenSearch, logs and
    the archive's storage are not in it."""
    invocations = _MILLION / batches.changes
    gb_seconds = invocations * batches.duration_ms / 1000 * batches.memory_mb / 1024
    return Cost(
        requests=invocations / _MILLION * prices.requests,
        compute=gb_seconds * prices.gb_second,
        archive=invocations * batches.puts / 1000 * prices.puts,
    )


@app.command(epilog="Example: python -m local.lambda_cost --duration-ms 180 --batch 500 --rate 1000")
def print_cost(
    duration_ms: Annotated[
        float, typer.Option(min=1, help="How long a batch takes: the mean of Lambda's metric Duration.")
    ],
    batch: Annotated[float, typer.Option(min=1, max=10_000, help="Changes of a batch, on average.")] = 500,
    rate: Annotated[float, typer.Option(min=0, help="Changes a second.")] = 1000,
    memory: Annotated[int, typer.Option(min=128, max=10_240, help="MemorySize, in megabytes.")] = 1024,
    architecture: Annotated[
        Architecture, typer.Option(help="Its price of a gigabyte-second is the default.")
    ] = "arm64",
    puts: Annotated[
        float, typer.Option(min=0, help="Objects that a batch writes into the archive: 1, or 0 without one.")
    ] = 0,
    request_price: Annotated[float, typer.Option(min=0, help="Dollars for a million requests.")] = _PUBLIC.requests,
    gb_second_price: Annotated[float | None, typer.Option(min=0, help="Dollars for a gigabyte-second.")] = None,
    put_price: Annotated[float, typer.Option(min=0, help="Dollars for a thousand PUT requests to S3.")] = _PUBLIC.puts,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Print what the Lambda costs for a million changes, and for a month."""
    batches = Batches(batch, duration_ms, memory, puts)
    gb_second = ARCHITECTURES[architecture] if gb_second_price is None else gb_second_price
    cost = cost_of(batches, Prices(request_price, gb_second, put_price))
    busy = rate / batch * duration_ms / 1000
    month = rate * _MONTH_SECONDS / _MILLION
    if as_json:
        facts = {
            "per_million_changes": asdict(cost) | {"total": cost.total},
            "rate": rate,
            "month": cost.total * month,
            "busy_functions": busy,
        }
        print(json.dumps(facts, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("dollars", "for a million changes", f"a month at {rate:g}/s")
    parts = {"requests": cost.requests, "compute": cost.compute, "archive": cost.archive, "sum": cost.total}
    for name, dollars in parts.items():
        table.add_row(name, f"{dollars:.4f}", f"{dollars * month:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{busy:.2f} functions of {memory} MB are busy on average.")


if __name__ == "__main__":
    app(prog_name="python -m local.lambda_cost")
