"""Requests to OpenSearch, signed with AWS credentials: "Create a signed AWS API request" (SigV4).

botocore can sign, too; importing what it needs for that is a tenth of a cold start.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

__all__ = ["Credentials", "Keys", "Signer", "environment_keys"]

_ALGORITHM = "AWS4-HMAC-SHA256"


class Keys(Protocol):
    """Credentials to sign with, as botocore has them."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


Credentials = Callable[[], Keys]
"""Answers the keys of this moment, of one renewal all three."""


class _Static(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


def environment_keys(environment: Mapping[str, str] = os.environ) -> Keys | None:
    """The keys that Lambda gives a function, valid as long as its process lives; None where there are none."""
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret or "AWS_CREDENTIAL_EXPIRATION" in environment:
        return None
    return _Static(access, secret, environment.get("AWS_SESSION_TOKEN") or None)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests: opensearch-py calls it for the headers of each."""

    credentials: Credentials
    region: str
    service: str
    """`es` for a domain, `aoss` for a serverless collection."""
    now: Callable[[], datetime] = _now

    def __call__(self, method: str, url: str, body: str | bytes | None) -> dict[str, str]:
        """The signature's headers. The body's digest is one of them: serverless collections want it."""
        keys = self.credentials()
        content = body.encode() if isinstance(body, str) else body or b""
        time = f"{self.now():%Y%m%dT%H%M%SZ}"
        headers = {
            "host": _host(url),
            "x-amz-content-sha256": sha256(content).hexdigest(),
            "x-amz-date": time,
        }
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        scope = f"{time[:8]}/{self.region}/{self.service}/aws4_request"
        canonical = _canonical(method, url, headers)
        text = "\n".join((_ALGORITHM, time, scope, sha256(canonical.encode()).hexdigest()))
        key = f"AWS4{keys.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(sorted(headers))}, "
            f"Signature={signature}"
        )
        del headers["host"]  # whoever sends the request says it
        return headers


def _canonical(method: str, url: str, headers: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    names = sorted(headers)
    return "\n".join(
        (
            method.upper(),
            quote(parts.path or "/", safe="/~"),  # encoded again, as for all services but S3
            "&".join(f"{name}={value}" for name, value in _asked(parts.query)),
            *(f"{name}:{headers[name]}" for name in names),
            "",
            ";".join(names),
            headers["x-amz-content-sha256"],
        )
    )


def _asked(query: str) -> list[tuple[str, str]]:
    """The query's parts, encoded as they are and in order."""
    parts = (part.partition("=") for part in query.split("&") if part)
    return sorted((name, value) for name, _, value in parts)


def _host(url: str) -> str:
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return name if parts.port in (None, usual) else f"{name}:{parts.port}"
