"""`cdc settings`: every setting with its default, what it is set to here, and its meaning."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Annotated

import typer

from consumers.settings import PREFIX, describe

__all__ = ["GROUPS", "group_of", "print_settings", "setting_lines"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Mappings": ("MAPPINGS", "ON_CHANGED_MAPPING"),
    "OpenSearch": ("OPENSEARCH_", "BULK"),
    "Archive": ("ARCHIVE_",),
    "Dead letters": ("DEAD_LETTER_", "ON_MASS_REJECT", "DEFER_MAX_AGE"),
    "Lambda": ("DEADLINE_MARGIN_SECONDS", "EMBEDDED_METRICS", "METRICS_NAMESPACE"),
    "KCL": ("KCL_", "JVM_"),
    "Kinesis": ("KINESIS_",),
    "Health and metrics": ("HTTP_", "DEGRADED_"),
    "Consumer": (
        "TABLES",
        "ON_GAP",
        "AUDIT_",
        "APPLICATION",
        "WORKER_ID",
        "INITIAL_POSITION",
        "MAX_RECORDS",
        "FLUSH_",
        "SHUTDOWN_",
        "CACHE_DIR",
    ),
    "General": ("",),
}
"""Groups by what the names of their settings begin with; the first that fits has a setting."""

_SECRET = re.compile("PASSWORD|SECRET|TOKEN")
_USER_OF_URL = re.compile(r"(?<=://)[^/@]*@")
_NARROWEST = 60


def print_settings(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False) -> None:
    """Print every setting: its variable, default, value here (never of a secret) and meaning."""
    if as_json:
        print(json.dumps(describe(), indent=2))
        return
    width = max(_NARROWEST, shutil.get_terminal_size().columns)
    for line in setting_lines(os.environ, width):
        typer.secho(line, bold=bool(line) and not line.startswith(" "))
    known = {setting["name"] for setting in describe()}
    for name in sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known):
        near = difflib.get_close_matches(name, known, n=1)
        print(f"warning: {name}: unknown setting" + (f"; did you mean {near[0]}?" if near else ""), file=sys.stderr)


def setting_lines(environment: Mapping[str, str], width: int) -> list[str]:
    """The lines of all groups. A name always stands whole on a line of its own or with its value behind it."""
    lines: list[str] = []
    for title in GROUPS:
        members = [setting for setting in describe() if group_of(setting["name"]) == title]
        if members:
            lines += ["", title] if lines else [title]
        for setting in members:
            lines += _lines_of(setting, environment.get(setting["name"], ""), width)
    return lines


def group_of(name: str) -> str:
    """The group of a setting's variable."""
    short = name.removeprefix(PREFIX)
    return next(title for title, beginnings in GROUPS.items() if short.startswith(beginnings))


def _lines_of(setting: Mapping[str, str], value: str, width: int) -> list[str]:
    name, default, indent = setting["name"], setting["default"], " " * 6
    facts = [f"= {default}"] if default else []
    if value:
        shown = "(set, not shown)" if _SECRET.search(name) else _USER_OF_URL.sub("…@", value)
        facts = [f"= {shown}", *([f"(default {default})"] if default else [])]
    in_one_line = f"  {name} {'   '.join(facts)}".rstrip()
    first = [in_one_line] if len(in_one_line) <= width else [f"  {name}", *(f"{indent}{fact}" for fact in facts)]
    return [*first, *textwrap.wrap(setting["meaning"], width, initial_indent=indent, subsequent_indent=indent)]
