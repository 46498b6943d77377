"""`cdc leases`: help for people, and one clear error where there is nothing to show."""

from __future__ import annotations

import pytest

from tests.unit.test_cli import cdc


@pytest.mark.parametrize("command", ["list", "forget"])
def test_every_command_of_leases_has_help_with_an_example(command: str) -> None:
    done = cdc("leases", command, "--help")
    assert done.returncode == 0
    assert f"Example: cdc leases {command}" in done.stdout


def test_a_lease_table_that_does_not_answer_is_one_clear_error() -> None:
    done = cdc(
        "leases",
        "list",
        AWS_ACCESS_KEY_ID="x",
        AWS_SECRET_ACCESS_KEY="x",
        AWS_REGION="eu-west-1",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the lease table 'dynamodb-cdc' can't be read: ")
    assert "Traceback" not in done.stderr
