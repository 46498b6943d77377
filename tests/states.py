"""The state machine of `deploy/backfill/template.yaml`, as Step Functions gets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.unit.template import Loader

__all__ = ["PATH", "definition", "template"]

PATH = Path(__file__).parents[1] / "deploy" / "backfill" / "template.yaml"


def template() -> dict[str, Any]:
    """The template, CloudFormation's short forms as its long ones."""
    return dict(yaml.load(PATH.read_text(encoding="utf-8"), Loader=Loader))  # noqa: S506  (a SafeLoader)


def definition(function: str, concurrency: int = 10, bucket: str = "archive") -> dict[str, Any]:
    """The definition, its substitutions made."""
    text = json.dumps(template()["Resources"]["Backfill"]["Properties"]["Definition"])
    facts = {
        "LoadFunction": function,
        "MaxConcurrency": str(concurrency),
        "ResultBucket": bucket,
        "ResultPrefix": "cdc/jobs/~results",
    }
    for name, value in facts.items():
        text = text.replace(f"${{{name}}}", value)
    found: dict[str, Any] = json.loads(text)
    return found
