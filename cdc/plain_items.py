"""PlainItems: answers of DynamoDB whose items stay as they came.

botocore converts each attribute by the service's model, which decodes binary and costs ten times the parsing of the
JSON. Here pages of items are parsed, and no more: binary is base64 text, as in the records of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["PlainItems"]

_PAGES = frozenset({"ScanOutput"})


@dataclass(frozen=True)
class PlainItems:
    """A factory of response parsers, for a botocore session's component `response_parser_factory`."""

    factory: Any

    def create_parser(self, protocol_name: str) -> Any:
        """A parser that leaves items alone, and parses everything else as botocore does."""
        return _Parser(self.factory.create_parser(protocol_name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.factory, name)


@dataclass(frozen=True)
class _Parser:
    parser: Any

    def parse(self, response: Mapping[str, Any], shape: Any) -> Any:
        if response["status_code"] != 200 or shape is None or shape.name not in _PAGES:
            return self.parser.parse(response, shape)
        headers = {name.lower(): value for name, value in response["headers"].items()}
        return {
            **orjson.loads(response["body"]),
            "ResponseMetadata": {
                "RequestId": headers.get("x-amzn-requestid", ""),
                "HTTPStatusCode": 200,
                "HTTPHeaders": headers,
            },
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self.parser, name)
