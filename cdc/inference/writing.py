"""Writing: kinds and evidence as a mapping file, with comments that say why, and no value of any item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdc.inference.evidence import Evidence, Path
from cdc.inference.fields import choice_of, has_home
from cdc.inference.kinds import Kind

__all__ = ["KindEvidence", "index_name", "mapping_text"]

_TYPES = {"S": "text", "N": "number", "B": "binary", "BOOL": "boolean", "NULL": "null", "M": "map", "L": "list"}
_RARE = 0.01
_FEW = 3
_MOST_RARE = 50
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SECRET = re.compile(r"passw|secret|token|api_?key|ssn|iban|credit_?card|private_?key", re.IGNORECASE)
_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


@dataclass(frozen=True)
class KindEvidence:
    """A kind of items, and what the sample shows of it."""

    kind: Kind
    items: int
    evidence: Mapping[Path, Evidence]


def index_name(table: str, kind: str) -> str:
    """The name of an index: small letters, digits, `-` and `_`, as OpenSearch takes them."""
    name = re.sub(r"[^a-z0-9_-]+", "-", f"{table}-{kind}".lower()).strip("-_")
    return name or "items"


def mapping_text(table: str, head: Sequence[str], kinds: Sequence[KindEvidence]) -> str:
    """The mapping file.

    Args:
        head: the first comments.
    """
    total = sum(kind.items for kind in kinds)
    lines = [*(f"# {line}" for line in head), f"table: {_scalar(table)}", "documents:"]
    for kind in kinds:
        lines += _document(table, kind, total)
    return "\n".join(lines) + "\n"


def _document(table: str, one: KindEvidence, total: int) -> Iterator[str]:
    if one.items:
        yield f"  # {_share(one.items, total)} of the sample ({one.items:,} items): {one.kind.described}"
    else:
        yield f"  # no item of the sample: {one.kind.described}; so that none is left out"
    yield f"  - index: {_scalar(index_name(table, one.kind.name))}"
    if one.kind.where:
        yield f"    where: {json.dumps(one.kind.where, ensure_ascii=False)}"
    fields = list(_fields(one, (), " " * 10))
    if any(not line.lstrip().startswith("#") for line in fields):
        yield "    body:"
        yield "      mappings:"
        yield "        properties:"
        yield from fields
    else:
        yield from (line.replace(" " * 10, " " * 4, 1) for line in fields)


def _fields(one: KindEvidence, above: Path, indent: str) -> Iterator[str]:
    """The lines of the fields below a path, each behind its evidence. Of fields that have no type only evidence."""
    names = sorted(path[-1] for path in one.evidence if path and path[:-1] == above)
    rare = [name for name in names if _is_rare(one, (*above, name))]
    for name in names:
        if name in rare and len(rare) > _MOST_RARE:
            continue
        path = (*above, name)
        evidence = one.evidence[path]
        choice = choice_of(path, evidence)
        yield f"{indent}# {_told(path, evidence, one.items)}: {choice.reason}"
        if _SECRET.search(name):
            yield f"{indent}# {_shown(path)} may be a secret: fields: {{exclude: [{_shown(path)}]}} leaves it out"
        if not has_home(path):
            yield f"{indent}# {_shown(path)} has a name that no field can have: it is set aside, or fields: rename it"
            continue
        if choice.field is not None:
            yield f"{indent}{_scalar(name)}: {_flow(choice.field)}"
            continue
        below = list(_fields(one, path, f"{indent}    "))
        if any(not line.lstrip().startswith("#") for line in below):
            yield f"{indent}{_scalar(name)}:"
            yield f"{indent}  properties:"
            yield from below
        else:
            yield from (line.replace("    ", "", 1) for line in below)
    if len(rare) > _MOST_RARE:
        yield f"{indent}# and {len(rare):,} more, each in less than {_RARE:.0%} of the items"


def _is_rare(one: KindEvidence, path: Path) -> bool:
    items = one.evidence[path].items
    return items < _FEW or items < _RARE * one.items


def _told(path: Path, evidence: Evidence, items: int) -> str:
    parts = [f"{_shown(path)}: {_share(evidence.items, items)}"]
    values = sum(evidence.types.values())
    kinds = [
        _TYPES[tag] if count == values else f"{_TYPES[tag]} {_share(count, values)}"
        for tag, count in evidence.types.most_common()
    ]
    parts.append(" and ".join(kinds) + (" in lists" if evidence.in_lists else ""))
    if evidence.values:
        distinct = "very many" if evidence.distinct is None else f"{evidence.distinct:,}"
        parts.append(f"{distinct} different of {evidence.values:,}")
    if evidence.types["S"]:
        parts.append(f"at most {evidence.longest:,} bytes, {_share(evidence.spaces, evidence.types['S'])} with spaces")
    if evidence.types["N"]:
        parts.append(f"at most {evidence.digits} digits")
    if evidence.children:
        parts.append(f"{len(evidence.children):,} names")
    return ", ".join(parts)


def _shown(path: Path) -> str:
    return ".".join(json.dumps(name, ensure_ascii=True)[1:-1].replace(".", "\\.") for name in path)


def _share(part: int, whole: int) -> str:
    if part == whole:
        return "100 %"
    share = part / whole if whole else 0.0
    return "< 0.1 %" if 0 < share < 0.001 else f"{min(share, 0.999):.1%}".replace("%", " %")


def _flow(field: Mapping[str, Any]) -> str:
    return json.dumps(field).replace('"', "") if _is_simple(field) else json.dumps(field)


def _is_simple(field: Any) -> bool:
    if isinstance(field, Mapping):
        return all(_is_simple(value) for value in field.values())
    return not isinstance(field, str) or bool(_PLAIN_NAME.fullmatch(field))


def _scalar(text: str) -> str:
    """A text as YAML has it: in quotes where it could be taken for something else."""
    return text if _PLAIN_NAME.fullmatch(text) and text.lower() not in _YAML_WORDS else json.dumps(text)
