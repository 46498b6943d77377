"""The signature of requests to OpenSearch is botocore's, for every request."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from cdc.sinks.opensearch.client import OpenSearchOptions, opensearch_client
from cdc.sinks.opensearch.signing import Signer, environment_keys

NOW = datetime(2026, 1, 15, 9, 30, 12, tzinfo=UTC)
UNZONED = NOW.replace(tzinfo=None)
"""Credentials in botocore's shape."""
HOSTS = ("https://search.example.com", "https://search.example.com:9443", "http://127.0.0.1:9200", "https://a.b:443")
PATHS = (
    "/",
    "/_bulk",
    "/orders/_mapping",
    "/%3Corders-%7Bnow%2Fd%7D%3E",
    "/orders%2Ccustomers/_search",
    "/_alias/a%20b~c",
)
QUERIES = (
    "",
    "?timeout=30s",
    "?filter_path=errors%2Citems.%2A.status&require_alias=true",
    "?b=2&a=1&a=0",
    "?q=%C3%A4%20b",
    "?flat_settings",
)


def by_botocore(
    keys: ReadOnlyCredentials,
    service: str,
    method: str,
    url: str,
    body: bytes | None,
    at: datetime = UNZONED,
) -> dict[str, str]:
    request = AWSRequest(method=method, url=url, data=body)
    signature = SigV4Auth(keys, service, "eu-west-1")
    request.headers["X-Amz-Content-SHA256"] = signature.payload(request)
    with patch("botocore.auth.get_current_datetime", lambda: at):
        signature.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    st.sampled_from(("GET", "PUT", "POST", "HEAD", "DELETE")),
    st.sampled_from(HOSTS),
    st.sampled_from(PATHS),
    st.sampled_from(QUERIES),
    st.none() | st.binary(max_size=40),
    st.none() | st.text("abc/+=", min_size=1),
    st.sampled_from(("es", "aoss")),
)
def test_every_request_is_signed_as_botocore_signs_it(
    method: str, host: str, path: str, query: str, body: bytes | None, token: str | None, service: str
) -> None:
    keys = ReadOnlyCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    signed = Signer(lambda: keys, "eu-west-1", service, now=lambda: NOW)(method, host + path + query, body)
    assert {name.lower(): value for name, value in signed.items()} == by_botocore(
        keys, service, method, host + path + query, body
    )


class _Asked(BaseHTTPRequestHandler):
    """Notes what arrives, and whether botocore would have signed just that."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        keys = ReadOnlyCredentials("AKIDEXAMPLE", "secret", "token")
        at = datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007  (as botocore has it)
        expected = by_botocore(keys, "es", self.command, f"http://{self.headers['host']}{self.path}", body, at)
        self.server.signed[f"{self.command} {self.path}"] = (  # type: ignore[attr-defined]
            self.headers["authorization"] == expected["authorization"]
        )
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815  (http.server's names)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def test_what_arrives_at_a_server_is_what_was_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """opensearch-py and urllib3 stand between the signature and the wire."""
    for name, value in (("ACCESS_KEY_ID", "AKIDEXAMPLE"), ("SECRET_ACCESS_KEY", "secret"), ("SESSION_TOKEN", "token")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Asked)
    server.signed = {}  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        client = opensearch_client(OpenSearchOptions(endpoint=url, auth="es"))
        client.bulk(body=b'{"index":{}}\n{"a":"\xc3\xa4"}\n', params={"filter_path": "errors,items.*._version"})
        client.indices.get_alias(name="orders-é,b*")
        client.indices.exists(index="orders")
        client.indices.put_mapping(index="a b+c", body={"properties": {"ä": {"type": "long"}}})
        client.search(index="x", body={"query": {"match_all": {}}}, params={"q": "a+c/ä~"})
    finally:
        server.shutdown()
        server.server_close()
    signed: dict[str, bool] = server.signed  # type: ignore[attr-defined]
    assert len(signed) == 5
    assert signed == dict.fromkeys(signed, True)


def test_the_keys_of_a_function_are_those_of_its_environment() -> None:
    keys = environment_keys({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"})
    assert keys is not None
    assert (keys.access_key, keys.secret_key, keys.token) == ("a", "b", "c")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_ACCESS_KEY_ID": "a"},
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_CREDENTIAL_EXPIRATION": "2026-01-15T10:00:00Z"},
    ],
)
def test_keys_that_are_missing_or_expire_are_left_to_botocore(environment: dict[str, str]) -> None:
    assert environment_keys(environment) is None


def test_a_client_that_signs_gives_each_request_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    options = OpenSearchOptions(endpoint="https://search.example.com", auth="aoss")
    connection = opensearch_client(options).transport.get_connection()
    headers = connection.http_auth("GET", "https://search.example.com/", None)
    assert "/eu-west-1/aoss/aws4_request" in headers["Authorization"]
