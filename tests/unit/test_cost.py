"""`python -m local.lambda_cost` prints the sum that anybody can do by hand."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from local.lambda_cost import ARCHITECTURES, Batches, Prices, app, cost_of


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_million_changes_in_batches_of_a_thousand_are_a_thousand_requests_and_their_gigabyte_seconds() -> None:
    cost = cost_of(Batches(changes=1000, duration_ms=500, memory_mb=2048), Prices())
    assert cost.requests == pytest.approx(1000 * 0.20 / 1_000_000)
    assert cost.compute == pytest.approx(1000 * 0.5 * 2 * 0.0000133334)
    assert cost.archive == 0
    assert cost.total == pytest.approx(cost.requests + cost.compute)


def test_the_archive_costs_a_put_for_each_object() -> None:
    cost = cost_of(Batches(changes=500, duration_ms=1, memory_mb=128, puts=1), Prices())
    assert cost.archive == pytest.approx(2000 * 0.005 / 1000)


def test_the_default_prices_are_the_public_ones() -> None:
    assert Prices() == Prices(requests=0.20, gb_second=0.0000133334)
    assert ARCHITECTURES == {"arm64": 0.0000133334, "x86_64": 0.0000166667}


def test_the_architecture_has_its_price_and_a_given_one_is_taken_instead() -> None:
    def compute(*arguments: str) -> float:
        text = printed("--duration-ms", "1000", "--batch", "1000", "--json", *arguments)
        return float(json.loads(text)["per_million_changes"]["compute"])

    assert compute("--architecture", "x86_64") == pytest.approx(1000 * 0.0000166667)
    assert compute("--architecture", "x86_64", "--gb-second-price", "1") == pytest.approx(1000)


def test_a_month_is_that_of_the_rate() -> None:
    facts = json.loads(printed("--duration-ms", "250", "--batch", "500", "--rate", "1000", "--json"))
    assert facts["busy_functions"] == pytest.approx(0.5)
    assert facts["month"] == pytest.approx(facts["per_million_changes"]["total"] * 1000 * 730 * 3600 / 1_000_000)


def test_a_person_sees_each_part_and_the_sum() -> None:
    text = printed("--duration-ms", "180", "--batch", "500", "--rate", "1000")
    assert all(part in text for part in ("requests", "compute", "archive", "sum", "0.0052", "13.67"))


def test_a_batch_that_cannot_be_is_refused() -> None:
    result = CliRunner().invoke(app, ["--duration-ms", "180", "--batch", "0"])
    assert result.exit_code == 2
    assert "--batch" in result.output
