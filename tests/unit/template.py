"""`deploy/lambda/template.yaml` as tests look at it: with what CloudFormation would make of its defaults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

__all__ = [
    "PATH",
    "ROOT",
    "Loader",
    "conditions_of",
    "default",
    "functions",
    "made",
    "of_type",
    "resolved",
    "resource",
    "statements_of",
    "template",
    "text",
]

ROOT = Path(__file__).parents[2]
PATH = ROOT / "deploy" / "lambda" / "template.yaml"


class Loader(yaml.SafeLoader):
    """Takes CloudFormation's short forms as its long ones."""


def _long_form(loader: Loader, suffix: str, node: yaml.Node) -> Any:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", _long_form)


@cache
def template() -> dict[str, Any]:
    return dict(yaml.load(PATH.read_text(encoding="utf-8"), Loader=Loader))  # noqa: S506  (a SafeLoader)


def default(parameter: str) -> Any:
    return template()["Parameters"][parameter]["Default"]


def resource(name: str) -> dict[str, Any]:
    return dict(template()["Resources"][name]["Properties"])


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: one.get("Properties", {}) for name, one in template()["Resources"].items() if one["Type"] == kind}


def functions() -> dict[str, dict[str, Any]]:
    return of_type("AWS::Serverless::Function")


def conditions_of(value: Any) -> Iterator[Any]:
    """The members of a list, or the one that stands alone, whatever a condition chooses."""
    if isinstance(value, list):
        for one in value:
            yield from conditions_of(one)
    elif isinstance(value, Mapping) and "Fn::If" in value:
        for one in value["Fn::If"][1:]:
            yield from conditions_of(one)
    elif value != {"Ref": "AWS::NoValue"}:
        yield value


def statements_of(role: str) -> list[dict[str, Any]]:
    """All that a function's role may do: its own policies and the one that both have."""
    properties = resource(role)
    assert properties["ManagedPolicyArns"] == [{"Ref": "CommonPolicy"}]
    documents = [policy["PolicyDocument"] for policy in properties["Policies"]]
    documents.append(resource("CommonPolicy")["PolicyDocument"])
    return [one for document in documents for one in conditions_of(document["Statement"])]


def text(value: Any) -> str:
    """A value with its functions, to look for names in."""
    return json.dumps(value)


def resolved(**chosen: Any) -> dict[str, Any]:
    """The resources that CloudFormation would make with these parameters; of a resource `Ref` gives its name."""
    made = _Made(chosen)
    return {
        name: made.value(one["Properties"])
        for name, one in template()["Resources"].items()
        if "Condition" not in one or made.holds({"Condition": one["Condition"]})
    }


def made(value: Any, **chosen: Any) -> Any:
    """A part of the template as CloudFormation would make it of these parameters."""
    return _Made(chosen).value(value)


_NOTHING = object()
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::AccountId": "111122223333",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "shop-changes",
    "AWS::StackId": f"arn:aws:cloudformation:eu-west-1:111122223333:stack/shop-changes/{UUID(int=1)}",
    "AWS::NoValue": _NOTHING,
}


@dataclass(frozen=True)
class _Made:
    chosen: Mapping[str, Any]

    def ref(self, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name not in template()["Parameters"]:
            return name
        value = self.chosen.get(name, template()["Parameters"][name].get("Default", ""))
        is_list = template()["Parameters"][name]["Type"] == "CommaDelimitedList"
        return str(value).split(",") if is_list else value

    def holds(self, condition: Any) -> bool:
        ((kind, inner),) = condition.items()
        match kind:
            case "Condition":
                return self.holds(template()["Conditions"][inner])
            case "Fn::Not":
                return not self.holds(inner[0])
            case "Fn::And":
                return all(map(self.holds, inner))
            case "Fn::Or":
                return any(map(self.holds, inner))
        left, right = map(self.value, inner)
        return str(left) == str(right)

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [found for one in value if (found := self.value(one)) is not _NOTHING]
        if not isinstance(value, dict):
            return value
        match list(value.items()):
            case [("Ref", str(name))]:
                return self.ref(name)
            case [("Fn::GetAtt", [str(name), str(attribute)])]:
                return f"{name}.{attribute}"
            case [("Fn::If", [str(name), yes, no])]:
                return self.value(yes if self.holds({"Condition": name}) else no)
            case [("Fn::Select", [index, values])]:
                return self.value(values)[index]
            case [("Fn::Split", [str(separator), inner])]:
                return str(self.value(inner)).split(separator)
            case [("Fn::Join", [str(separator), values])]:
                return separator.join(map(str, self.value(values)))
            case [("Fn::Sub", str(inner))]:
                return self.substituted(inner, {})
            case [("Fn::Sub", [str(inner), dict(names)])]:
                return self.substituted(inner, {name: self.value(one) for name, one in names.items()})
        found = {name: self.value(inner) for name, inner in value.items()}
        return {name: inner for name, inner in found.items() if inner is not _NOTHING}

    def substituted(self, inner: str, names: Mapping[str, Any]) -> str:
        def one(match: re.Match[str]) -> str:
            name = match[1]
            return str(names[name] if name in names else name if "." in name else self.ref(name))

        return re.sub(r"\$\{([\w.:]+)\}", one, inner)
