"""Items in Ion text, as exports have them, to DynamoDB JSON."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import IO, Any

from cdc.errors import ConfigError, MalformedRecord
from cdc.records.attributes import AttributeValue, RawItem, canonical_number

__all__ = ["ion_values", "item_of_ion"]

_TEXT_BYTES = 4 * 1024 * 1024
"""Room for one text: an item has 400 KB, a character of it up to 6 bytes of Ion; the reader's own 64 KB are too few."""


def ion_values(file: IO[bytes]) -> Iterator[Any]:
    """The values of Ion text, one after the other, read as they are asked for.

    Raises:
        ConfigError: the package amazon.ion is not installed.
        MalformedRecord: the text is no Ion.
    """
    try:
        from amazon.ion import simpleion
        from amazon.ion.exceptions import IonException
    except ImportError as error:
        raise ConfigError(
            "an export in the format ION needs the package amazon.ion",
            remedy="pip install '.[ion]' in a checkout, or export in DynamoDB JSON.",
        ) from error
    try:
        yield from simpleion.load(
            file,
            single_value=False,
            parse_eagerly=False,
            text_buffer_size_limit=_TEXT_BYTES,
            value_model=simpleion.IonPyValueModel.MAY_BE_BARE,
        )
    except IonException as error:
        raise MalformedRecord(f"not readable as Ion text: {type(error).__name__}") from None


def item_of_ion(struct: Any) -> RawItem:
    """The attributes of an Ion struct as DynamoDB JSON, binary as base64 text, numbers exact (Amazon DynamoDB Developer
    Guide, "DynamoDB table export output format": DynamoDB to ion datatype conversion).

    Raises:
        MalformedRecord: it holds what no item holds.
    """
    if _kind(struct) != "struct":
        raise MalformedRecord(f"an item is a struct, not {_kind(struct)}")
    item: RawItem = {}
    for name, value in struct.items():
        try:
            item[str(name)] = _value(value)
        except MalformedRecord as error:
            raise error.under(str(name)) from None
    return item


def _value(value: Any) -> AttributeValue:
    kind = _kind(value)
    if kind == "list":
        return _list_or_set(value)
    found = _VALUES.get(kind)
    if found is None:
        raise MalformedRecord(f"an attribute is no {kind}")
    return found(value)


def _list_or_set(members: Any) -> AttributeValue:
    annotations = [annotation.text for annotation in getattr(members, "ion_annotations", ())]
    if not annotations:
        return {"L": [_value(member) for member in members]}
    tag = str(annotations[0]).removeprefix("$dynamodb_")
    wanted = {"SS": "S", "NS": "N", "BS": "B"}.get(tag)
    if wanted is None or len(annotations) > 1:
        raise MalformedRecord("a list with annotations other than $dynamodb_SS, $dynamodb_NS or $dynamodb_BS")
    contents = []
    for member in map(_value, members):
        if wanted not in member:
            raise MalformedRecord(f"a set {tag} with a member that is no {wanted}")
        contents.append(member[wanted])
    return {tag: contents}


def _number(value: Any) -> AttributeValue:
    return {"N": canonical_number(str(value))}


_VALUES: Mapping[str, Callable[[Any], AttributeValue]] = {
    "string": lambda value: {"S": str(value)},
    "decimal": _number,
    "int": _number,
    "bool": lambda value: {"BOOL": bool(value)},
    "null": lambda _value: {"NULL": True},
    "blob": lambda value: {"B": b64encode(value).decode()},
    "struct": lambda value: {"M": item_of_ion(value)},
}

_BARE = {str: "string", Decimal: "decimal", int: "int", bool: "bool", bytes: "blob", list: "list", type(None): "null"}
"""Values that the reader gives without their Ion type; structs have it always."""


def _kind(value: Any) -> str:
    """The name of the Ion type; a name that no attribute has for a null of another type, or with an annotation."""
    bare = _BARE.get(type(value))
    if bare:
        return bare
    kind = str(getattr(getattr(value, "ion_type", None), "name", type(value).__name__)).lower()
    if type(value).__name__ == "IonPyNull" and kind != "null":
        return f"null.{kind}"
    annotations: Sequence[Any] = getattr(value, "ion_annotations", ())
    return f"annotated {kind}" if kind != "list" and annotations else kind
