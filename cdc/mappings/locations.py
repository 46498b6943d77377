"""Places of mapping files: files and folders beside the code, and objects in S3."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdc.errors import ConfigError, MappingError
from cdc.mappings.files import NO_SUCH_PLACE, MappingFile, mapping_texts, parse_mappings
from cdc.mappings.model import Mappings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["load_places", "places"]

_S3 = "s3://"
_MISSING = "Set {called} to where the mapping files are: files or folders, separated by colons."
_SUFFIXES = (".yml", ".yaml")

Texts = list[tuple[str, str]]


def places(setting: str) -> list[str]:
    """The places that a setting names: its parts between colons, but for the colon of `s3://`."""
    return [part for part in re.split(r":(?!//)", setting) if part]


def load_places(setting: str, s3: Callable[[], S3Client], *, called: str = "mappings") -> Mappings:
    """Read the mappings of every place. `s3` makes a client, when one is needed; `called` is the setting's name, for
    messages.

    An object is read whatever it is called; below a prefix that ends with `/` every `.yml` and `.yaml` is. What comes
    from S3 can't name code: whoever may write there need not be who may deploy.

    Raises:
        MappingError: with every fault of every file.
        ConfigError: S3 does not give them.
    """
    texts: Texts = []
    problems: list[str] = []
    reader: _Reader | None = None
    for place in places(setting):
        if place.startswith(_S3):
            reader = reader or _Reader(s3(), called)
            texts += reader.texts(place)
        else:
            found, faults = mapping_texts([Path(place)])
            texts += found
            problems += faults
    files, problems = parse_mappings(texts, problems)
    problems += [problem for file in files if file.mapping.source.startswith(_S3) for problem in _names_code(file)]
    if problems:
        missing = any(problem.endswith(NO_SUCH_PLACE) for problem in problems)
        raise MappingError(
            tuple(problems),
            remedy=_MISSING.format(called=called) if missing else "",
        )
    return Mappings(tuple(file.mapping for file in files))


def _names_code(file: MappingFile) -> Iterator[str]:
    return file.problems(
        (
            ("documents", position, "transform"),
            "a file from S3 can't name code; take it out, or put the file and its module into the package",
        )
        for position, document in enumerate(file.mapping.documents)
        if document.transform is not None
    )


@dataclass(frozen=True)
class _Reader:
    client: Any
    called: str

    def texts(self, url: str) -> Texts:
        """The objects of a place, by their URLs."""
        bucket, _, key = url.removeprefix(_S3).partition("/")
        if not bucket or not key:
            raise ConfigError(
                f"{self.called}: {url} names no object",
                remedy="Write s3://bucket/key, or s3://bucket/prefix/ for all below it.",
            )
        if not key.endswith("/"):
            return [self._text(bucket, key)]
        keys = self._keys(bucket, key)
        if not keys:
            raise ConfigError(
                f"{self.called}: there is no mapping file below {url}",
                remedy=f"Put files there whose names end with {' or '.join(_SUFFIXES)}.",
            )
        return [self._text(bucket, key) for key in keys]

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        def listed() -> list[str]:
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

        keys = self._asked(listed, f"{_S3}{bucket}/{prefix}", f"s3:ListBucket on arn:aws:s3:::{bucket}")
        return sorted(key for key in keys if key.endswith(_SUFFIXES))

    def _text(self, bucket: str, key: str) -> tuple[str, str]:
        url = f"{_S3}{bucket}/{key}"

        def got() -> bytes:
            body: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return body

        try:
            return url, self._asked(got, url, f"s3:GetObject on arn:aws:s3:::{bucket}/{key}").decode()
        except UnicodeDecodeError as error:
            raise MappingError((f"{url}: can't be read: {error}",)) from error

    def _asked(self, request: Callable[[], Any], url: str, permission: str) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return request()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            missing = code in ("NoSuchKey", "NoSuchBucket", "404")
            remedy = f"Put it there, or mend {self.called}." if missing else f"Allow {permission}."
            if code in ("AccessDenied", "403"):  # which S3 also answers for what is not there, to who may not list
                remedy += " If that is allowed, look whether it is there."
            raise ConfigError(f"{self.called}: {url} can't be read: {code}", remedy=remedy) from error
        except BotoCoreError as error:
            raise ConfigError(
                f"{self.called}: {url} can't be read: {type(error).__name__}",
                remedy="Check AWS_REGION and that S3 can be reached: in a VPC by a gateway endpoint.",
            ) from error
