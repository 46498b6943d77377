"""The body of an index: our defaults, and the mapping file's own merged over them."""

from __future__ import annotations

from typing import Any

import pytest

from cdc.sinks.opensearch.bodies import index_body


def settings_of(settings: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = index_body({"settings": settings})["settings"]["index"]
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"index.mapping.depth.limit": 30},
        {"mapping.depth.limit": 30},
        {"index": {"mapping.depth.limit": 30}},
        {"index": {"mapping": {"depth": {"limit": 30}}}},
        {"mapping": {"depth.limit": 30}},
    ],
)
def test_a_setting_replaces_ours_however_it_is_written(settings: dict[str, Any]) -> None:
    mapping = settings_of(settings)["mapping"]
    assert mapping["depth"] == {"limit": 30}
    assert mapping["total_fields"] == {"limit": 5000}
    assert "depth.limit" not in mapping


def test_a_name_with_a_dot_within_other_settings_stays_as_it_is() -> None:
    analysis = {"analyzer": {"my.own": {"type": "standard"}}}
    assert settings_of({"analysis": analysis})["analysis"] == analysis


def test_every_keyword_leaves_out_what_is_too_long_for_a_term() -> None:
    def keywords(value: Any) -> list[Any]:
        if isinstance(value, list):
            return [found for inner in value for found in keywords(inner)]
        if not isinstance(value, dict):
            return []
        own = [value] if value.get("type") == "keyword" else []
        return own + [found for inner in value.values() for found in keywords(inner)]

    found = keywords(index_body({})["mappings"])
    assert len(found) == 5
    assert {keyword.get("ignore_above") for keyword in found} == {8191}
