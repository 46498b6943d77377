"""`python -m local.api_docs > docs/api.md`: the public API, from the docstrings and signatures in the source."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from textwrap import dedent

__all__ = ["api_docs", "main"]

ROOT = Path(__file__).parents[1]

_HEAD = """\
# API

The public names, made from the docstrings by `make docs`. What is not here is internal and may change without notice.
[write-a-sink.md](write-a-sink.md) and [testing.md](testing.md) show how the parts are used; [the glossary](glossary.md)
explains the words.
"""

_GROUPS = {
    ("cdc", "Reading changes"): (
        "changes_from_lambda Change Operation StreamView Item Difference Added Removed Changed Path read_archive"
    ),
    ("cdc", "Writing to sinks"): (
        "Sink Deadline Outcome Applied Superseded Skipped Deferred Rejected Cause CauseKind Progress Defer Reject"
    ),
    ("cdc", "Whole tables"): "backfill verify",
    ("cdc", "Errors"): (
        "CdcError ConfigError MappingError MalformedRecord ImageMissing SinkError SinkUnavailable SinkMisconfigured"
    ),
    ("cdc.records.stream", "Streams"): "Stream",
    ("cdc.records.sequence", "Order"): "SequenceNumber",
    ("cdc.records.identity", "Identity"): "RecordIdentity",
    ("cdc.archive", "The archive"): "ArchivedChange",
    ("consumers.aws_lambda", "Lambda handlers"): None,
    ("cdc.testing", "The test kit"): None,
}
"""The sections: each module's names in the order of reading; None: all that it exports."""

_UNLISTED = {"cdc": {"__version__"}}

_WIDTH = 100
"""Longer signatures get a line for each parameter."""

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


def api_docs() -> str:
    """The page."""
    parts = [_HEAD]
    for (module, title), names in _GROUPS.items():
        parts.append(f"## {title}\n\n`from {module} import …`\n")
        listed = names.split() if names else _exported(module)
        parts += ["\n".join(_entry(module, name)) for name in listed]
    _check_complete()
    return "\n".join(parts)


def _exported(module: str) -> Sequence[str]:
    return [name for name in importlib.import_module(module).__all__ if name not in _UNLISTED.get(module, ())]


def _check_complete() -> None:
    """Raise if `cdc` exports a name that no section lists."""
    listed = {name for names in _GROUPS.values() for name in (names or "").split()}
    if missing := set(_exported("cdc")) - listed:
        raise LookupError(f"local/api_docs.py: add {sorted(missing)} to a section")


def _entry(module: str, name: str) -> Iterator[str]:
    node, text = _definition(module, name)
    yield f"### {name}\n"
    match node:
        case ast.FunctionDef():
            yield f"```python\n{_signature(node)}\n```\n"
            yield _prose(ast.get_docstring(node))
        case ast.ClassDef():
            yield f"```python\n{_class_head(node)}\n```\n"
            yield _prose(ast.get_docstring(node))
            yield from _members(node)
        case ast.Assign() | ast.AnnAssign():
            yield f"```python\n{_text(node) if len(_text(node)) < 120 else name}\n```\n"
            yield _prose(text)


def _members(node: ast.ClassDef) -> Iterator[str]:
    lines = []
    for member, text in _with_texts(node.body):
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            is_property = any("property" in _text(mark) for mark in member.decorator_list)
            result = f" -> {_text(member.returns)}" if member.returns else ""
            shown = f"{member.name}{result}" if is_property else _signature(member, width=1000).removeprefix("def ")
            lines.append(f"- `{shown}`: {_indented(_prose(ast.get_docstring(member)))}")
        elif text and isinstance(member, ast.AnnAssign) and not _text(member.target).startswith("_"):
            lines.append(f"- `{_text(member.target)}: {_text(member.annotation)}`: {_indented(text)}")
    if lines:
        yield "\n".join(line.rstrip() for line in lines) + "\n"


def _indented(text: str) -> str:
    return re.sub(r"\n(?=.)", "\n  ", text.strip())


def _signature(node: ast.FunctionDef, width: int = _WIDTH) -> str:
    """The signature without `self` and `cls`, on one line if it fits, else with a line for each parameter."""
    parameters = [_spaced(part) for part in _parts(_text(node.args)) if part not in ("self", "cls")]
    returns = f" -> {_text(node.returns)}" if node.returns else ""
    line = f"def {node.name}({', '.join(parameters)}){returns}"
    return line if len(line) <= width else f"def {node.name}(\n    " + ",\n    ".join(parameters) + f",\n){returns}"


def _parts(arguments: str) -> list[str]:
    """The parameters of a signature: split at commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in arguments:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _spaced(parameter: str) -> str:
    """Spaces around the `=` of a parameter that has a type, as ruff writes them."""
    name, colon, rest = parameter.partition(": ")
    return f"{name}: {re.sub(r'(?<! )=(?! )', ' = ', rest, count=1)}" if colon else parameter


def _class_head(node: ast.ClassDef) -> str:
    """How it is constructed: by `__init__`, else by its fields."""
    bases = [_text(base) for base in node.bases]
    init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is not None:
        return f"class {_signature(init).removeprefix('def __init__').join((node.name, '')).removesuffix(' -> None')}"
    if {"Protocol", "Exception", "StrEnum"} & set(bases) or not any(
        isinstance(one, ast.AnnAssign) for one in node.body
    ):
        members = [_text(one) for one in node.body if isinstance(one, ast.Assign)]
        head = f"class {node.name}({', '.join(bases)})" if bases else f"class {node.name}()"
        return "\n    ".join([f"{head}:", *members]) if members else head
    fields = [
        _text(one) for one in node.body if isinstance(one, ast.AnnAssign) and not _text(one.target).startswith("_")
    ]
    line = f"class {node.name}({', '.join(fields)})"
    return line if len(line) <= _WIDTH else f"class {node.name}(\n    " + ",\n    ".join(fields) + ",\n)"


_SECTION = re.compile(r"^(Raises|Returns|Args):\n((?:    .*\n?|\n)+)", re.MULTILINE)


def _prose(text: str | None) -> str:
    """A docstring as Markdown: its sections as lists."""

    def listed(section: re.Match[str]) -> str:
        body = dedent(section[2]).strip()
        if section[1] == "Returns":
            return f"Returns: {body}\n\n"
        entries = re.sub(r"\n +", " ", body).splitlines()
        return f"{section[1]}:\n\n" + "\n".join(f"- {entry}" for entry in entries) + "\n\n"

    return _SECTION.sub(listed, (text or "").rstrip() + "\n").rstrip() + "\n"


def _definition(module: str, name: str) -> tuple[Definition, str]:
    """The node that defines a name, followed through imports, and the text below an assignment."""
    for node, text in _with_texts(_parsed(module)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, text
        if isinstance(node, ast.Assign) and _text(node.targets[0]) == name:
            return node, text
        if isinstance(node, ast.AnnAssign) and _text(node.target) == name:
            return node, text
    for statement in ast.walk(ast.Module(list(_parsed(module)), [])):
        if isinstance(statement, ast.ImportFrom) and any(one.name == name for one in statement.names):
            return _definition(str(statement.module), name)
    raise LookupError(f"{module} defines no {name}")


def _with_texts(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement, with the docstring that follows it if it is an assignment."""
    for node, following in zip(body, [*body[1:], None], strict=True):
        match following:
            case ast.Expr(value=ast.Constant(value=str(text))) if isinstance(node, ast.Assign | ast.AnnAssign):
                yield node, dedent("    " + text).strip()
            case _:
                yield node, ""


def _text(node: ast.AST) -> str:
    """The source of a node, with the quotes that ruff writes."""
    return re.sub(r"'([^'\"\\\\]*)'", r'"\1"', ast.unparse(node))


@cache
def _parsed(module: str) -> Sequence[ast.stmt]:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8")).body


def main() -> int:
    """Print the page."""
    sys.stdout.write(api_docs())
    return 0


if __name__ == "__main__":
    sys.exit(main())
