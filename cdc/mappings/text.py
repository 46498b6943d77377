"""The YAML text of a mapping file: its values, exact in numbers, and the line where each stands."""

from __future__ import annotations

import re
from collections.abc import Hashable
from decimal import Decimal, InvalidOperation
from typing import Any

import yaml

from cdc.errors import MappingError

__all__ = ["Fault", "MappingText", "Place", "dotted"]

Place = tuple[str | int, ...]
"""The names and positions that lead to a value."""
Fault = tuple[Place, str]
"""A place, and what is wrong there."""


def dotted(place: Place) -> str:
    """The place as people write it: `documents[1].on_remove`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Loader(yaml.SafeLoader):
    """Safe, exact in numbers, and YAML 1.2: `NO`, `on`, `12:30` and `2026-01-01` are texts ("YAML Ain't Markup
    Language, version 1.2": core schema).

    It notes what YAML allows but nobody means: the same key twice, and numbers with a zero before them.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.doubtful: list[tuple[int, str]] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                continue  # refused below
            if name in seen:
                self.doubtful.append((key.start_mark.line + 1, f"the key {name!r} is there twice"))
            seen.add(name)
        return super().construct_mapping(node, deep)


def _digits(loader: _Loader, node: yaml.ScalarNode) -> str:
    text: str = loader.construct_scalar(node)
    if _ZERO_FIRST.match(text):
        loader.doubtful.append(
            (
                node.start_mark.line + 1,
                f"{text} may be a text or a number: put the text in quotes ({text!r}), or write the number without "
                "zeros before it",
            )
        )
    return text


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = _digits(loader, node)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _exact_float(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A pattern compares by exact value: a float would have rounded it."""
    text = _digits(loader, node)
    try:
        return Decimal(text)
    except InvalidOperation:
        return loader.construct_yaml_float(node)  # .inf and .nan


_ZERO_FIRST = re.compile(r"[-+]?0[0-9]")
_CORE_SCHEMA = {
    "null": (r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "merge": (r"<<", ["<"]),  # none of the core schema's, but of everybody's files
}
_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {}  # those of YAML 1.1
for _name, (_text, _first) in _CORE_SCHEMA.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_text})\\Z"), _first)
_Loader.add_constructor(f"{_TAG}int", _integer)
_Loader.add_constructor(f"{_TAG}float", _exact_float)


class MappingText:
    """The values (`tree`) of one mapping file, and the lines for messages. `source` is the file's path or URL.

    Raises:
        MappingError: the text is no YAML, has a key twice, or a number with a zero before it.
    """

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        loader = _Loader(text)
        try:
            self._root: Any = loader.get_single_node()
            self.tree: Any = loader.construct_document(self._root) if self._root is not None else None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark else ""
            raise MappingError((f"{source}{line}: {getattr(error, 'problem', None) or error}",)) from error
        except (KeyError, ValueError) as error:  # a tag such as !!bool before what is none
            raise MappingError((f"{source}: a tag (!!) stands before what is not of its type: {error}",)) from error
        finally:
            loader.dispose()
        if loader.doubtful:
            found = dict.fromkeys(loader.doubtful)  # a key is read twice
            raise MappingError(tuple(f"{source}:{line}: {text}" for line, text in found))

    def problem(self, fault: Fault) -> str:
        """The fault with its file, line and field: `shop.yml:7: documents[1].on_remove: 'drop' is none of …`."""
        place, text = fault
        where = dotted(place)
        return f"{self.source}:{self.line(place)}: {where}: {text}" if where else f"{self.source}: {text}"

    def line(self, place: Place) -> int:
        """The line of a field or an entry; that of what it would stand in, if it is not there itself."""
        node = self._root
        line = node.start_mark.line + 1 if node is not None else 1
        for part in place:
            found = _below(node, part)
            if found is None:
                return line
            mark, node = found
            line = mark.line + 1
        return line


def _below(node: Any, part: str | int) -> tuple[Any, Any] | None:
    """Where a part begins, and its node."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark, node.value[part]
    if isinstance(node, yaml.MappingNode):
        return next(((key.start_mark, value) for key, value in node.value if key.value == part), None)
    return None
