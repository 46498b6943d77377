"""Compares what the contenders make of hard values with the table: `python -m benchmarks.outputs [--markdown]`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from benchmarks.contenders import Lines, Parsed, mapping, others, ours, reader
from benchmarks.results import Result, Row
from benchmarks.shapes import SHAPES
from benchmarks.tables import markdown, table

__all__ = ["HARD", "agree", "compared"]

HARD: Mapping[str, dict[str, Any]] = {
    "38 digits": {"N": "12345678901234567890123456789012345678"},
    "38 digits and a fraction": {"N": "1234567890123456789012345678901234567.8"},
    "0.1 + 2⁻⁵⁴": {"N": "0.10000000000000005551115123125782702"},
    "a trailing zero": {"N": "2.50"},
    "-1E-130": {"N": "-1E-130"},
    "9.9E+125": {"N": "9.9E+125"},
    "binary": {"B": "AAECA//+"},
    "a set of texts": {"SS": ["cedar", "amber", "basalt"]},
    "a set of numbers": {"NS": ["10", "9", "1.5"]},
    "a set of binaries": {"BS": ["//4=", "AAE="]},
    "a text like a time": {"S": "2026-01-15T09:30:00.123456"},
    "a map with an attribute S": {"M": {"S": {"S": "text"}, "b": {"N": "1"}}},
    "null": {"NULL": True},
    "an empty list": {"L": []},
}
"""Values that DynamoDB holds, each of which some way to read them changes."""


def compared() -> Result:
    """The values in each contender's document; alike where the digits and the order are ours."""
    rows = []
    for name, value in HARD.items():
        event = _event(value)
        mine = _value(lambda event: ours(event, mapping(), reader()), event)
        theirs = {other: _value(lines, event) for other, lines in others().items()}
        figures = {other: "the same" if text == mine else text for other, text in theirs.items()}
        rows.append(Row(name, {"ours": mine, **figures}))
    return Result("Documents of hard values", rows)


def _event(value: dict[str, Any]) -> Parsed:
    record = SHAPES["flat"].record(1)
    keys = record["dynamodb"]["Keys"]
    record["dynamodb"].update(OldImage=keys, NewImage={**keys, "value": value})
    return {"Records": [record]}


def _value(lines: Callable[[Parsed], Lines], event: Parsed) -> str:
    try:
        (line,) = lines(json.loads(json.dumps(event)))
        document = json.loads(line.split(b"\n")[1], parse_float=Decimal, parse_int=Decimal)
    except Exception as error:  # noqa: BLE001  (what a contender raises is what it makes of the value)
        return f"raises {type(error).__name__}"
    return _text(document["value"])


def _text(value: object) -> str:
    """JSON with the digits that were read."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_text(inner)}' for name, inner in value.items())}}}"
    return orjson.dumps(value).decode()


def agree(shape: str) -> bool:
    """Do boto3's and Powertools' documents of this shape hold what ours hold? Only then is the work the same."""
    event: Parsed = json.loads(json.dumps({"Records": [SHAPES[shape].record(number) for number in range(5)]}))
    wanted = _documents(ours(event, mapping(), reader()))
    return all(_documents(others()[name](event)) == wanted for name in ("boto3 + json", "Powertools + json"))


def _documents(lines: Lines) -> list[Any]:
    return [json.loads(line.split(b"\n")[1]) for line in lines]


def main(*, as_markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False) -> None:
    """Print what the contenders make of hard values.

    Example: python -m benchmarks.outputs --markdown
    """
    if as_markdown:
        print(markdown(compared()))
    else:
        Console().print(table(compared()))


if __name__ == "__main__":
    typer.run(main)
