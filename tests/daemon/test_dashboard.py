# SPDX-License-Identifier: Apache-2.0
"""The page as the service serves it, with or without npm at build: codings, ETags, policy, who may open it.
tests/dashboard/ opens it in a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import Service

PATHS = ["/", "/dashboard"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with Service() as running:
        yield running


def page(service: Service) -> str:
    return service.ask("GET", "/").body.decode()


@pytest.mark.parametrize("path", PATHS)
def test_page_in_each_coding(service: Service, path: str) -> None:
    plain = service.ask("GET", path)
    assert plain.status == 200 and plain.headers["Content-Type"] == "text/html; charset=utf-8"
    assert plain.headers["Content-Encoding"] is None and plain.headers["Vary"] == "Accept-Encoding"
    assert plain.body.startswith(b"<!doctype html>")
    packed = service.ask("GET", path, headers={"Accept-Encoding": "br, gzip;q=0.8"})
    if packed.headers["Content-Encoding"] is None:  # the plain page
        assert packed.body == plain.body and len(plain.body) < 6000
        return
    assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["ETag"] != plain.headers["ETag"]
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) <= 120_000
    refused = service.ask("GET", path, headers={"Accept-Encoding": "identity;q=0, br"})
    assert refused.status == 406 and refused.problem == "not-acceptable"


def test_etag_answers_304_without_a_body(service: Service) -> None:
    tag = service.ask("GET", "/").headers["ETag"]
    again = service.ask("GET", "/", headers={"If-None-Match": f'"other", {tag}'})
    assert again.status == 304 and again.body == b"" and again.headers["ETag"] == tag
    assert service.ask("GET", "/", headers={"If-None-Match": '"other"'}).status == 200
    head = service.ask("HEAD", "/")
    assert head.status == 200 and head.body == b"" and int(head.headers["Content-Length"]) == len(service.ask("GET", "/").body)


def test_policy_allows_the_one_script_and_style_and_nothing_else(service: Service) -> None:
    reply = service.ask("GET", "/")
    assert len(reply.headers.get_all("Content-Security-Policy")) == 1
    assert reply.headers.get_all("Cache-Control") == ["no-cache"]
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    text = reply.body.decode()
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'" and policy["trusted-types"] == "'none'"
    assert " style=" not in text.split("<script>")[0] and not re.search(r"\son\w+=", text.split("<script>")[0])


def test_page_asks_nobody_else(service: Service) -> None:
    hosts = set(re.findall(r"""https?://([^/'"\s)]+)""", page(service)))
    assert hosts <= {"www.w3.org"}, hosts  # the name of SVG, no request


def test_page_needs_no_token_and_data_do(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("read abcdefghijklmnop\n")
    with Service("--token-file", str(tokens)) as service:
        assert service.ask("GET", "/").status == 200
        assert service.ask("GET", "/dashboard").status == 200
        assert service.ask("GET", "/v1/caches").status == 401


def test_link_of_another_site_may_open_the_page_and_nothing_else(service: Service) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert service.ask("GET", "/", headers=link).status == 200
    assert service.ask("GET", "/dashboard", headers=link).status == 200
    assert service.ask("GET", "/v1/caches", headers=link).status == 403
    assert service.ask("GET", "/", headers={**link, "Sec-Fetch-Mode": "cors"}).status == 403
    assert service.ask("GET", "/", headers={**link, "Origin": "http://other.example"}).status == 403


def test_page_can_only_be_read(service: Service) -> None:
    assert service.ask("POST", "/", {}).status == 405
