"""A mapping is applied whole or not at all, and a field's `null_value` stays: by that an index decides races."""

from __future__ import annotations

from typing import Any

import pytest
from opensearchpy.exceptions import RequestError

from cdc.testing import SimulatedClock, SimulatedOpenSearch


@pytest.fixture(params=["simulated", "real"])
def client(request: pytest.FixtureRequest) -> Any:
    """OpenSearch."""
    return (
        SimulatedOpenSearch(SimulatedClock()) if request.param == "simulated" else request.getfixturevalue("opensearch")
    )


def turn(number: int, text: str) -> dict[str, Any]:
    fields = {"properties": {f"turn_{number}": {"type": "keyword", "null_value": text}}}
    return {"_meta": {"by": text}, "properties": {"_cdc_turns": fields}}


def test_a_field_that_is_given_another_null_value_refuses_the_whole_mapping(client: Any, index: str) -> None:
    client.indices.create(index=index)
    client.indices.put_mapping(index=index, body=turn(1, "a"))
    with pytest.raises(RequestError) as refused:
        client.indices.put_mapping(index=index, body=turn(1, "b"))
    assert "_cdc_turns.turn_1" in str(refused.value.info)
    client.indices.put_mapping(index=index, body=turn(1, "a"))
    client.indices.put_mapping(index=index, body=turn(2, "c"))
    mappings = client.indices.get_mapping(index=index)[index]["mappings"]
    assert mappings["_meta"] == {"by": "c"}
    assert sorted(mappings["properties"]["_cdc_turns"]["properties"]) == ["turn_1", "turn_2"]
