# SPDX-License-Identifier: Apache-2.0
"""What steps ask of a mustafard: requests on one kept connection, problems as exceptions, and what
its OpenAPI document says that it has."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from service import Reply, Service

JsonObject = dict[str, Any]


class NoForm(Exception):  # noqa: N818 (no error: a fact)
    """Nothing in HTTP says what a step asks for."""


class Refused(Exception):  # noqa: N818
    """A reply of problem+json."""

    def __init__(self, document: JsonObject) -> None:
        super().__init__(document["detail"])
        self.slug: str = document["type"].rsplit(":", 1)[1]
        self.document = document


class Wire:
    def __init__(self, service: Service) -> None:
        self.service = service
        document = self.json("GET", "/openapi.json")
        self.paths: JsonObject = document["paths"]
        self.schemas: JsonObject = document["components"]["schemas"]
        self.caches = 0

    def ask(self, method: str, path: str, body: Any = None, accept: str = "",
            media: dict[str, str] | None = None, **query: Any) -> Reply:  # fmt: skip
        """Body: bytes are sent as octets (or as `media` says), a text is JSON as it stands, the
        rest becomes JSON."""
        words = {key: value for key, value in query.items() if value is not None}
        for key, value in words.items():
            if isinstance(value, bool):
                words[key] = "true" if value else "false"
        target = path + ("?" + urlencode(words) if words else "")
        fields = dict(media or {})
        if accept:
            fields["Accept"] = accept
        if isinstance(body, str):
            body, fields["Content-Type"] = body.encode(), "application/json"
        reply = self.service.ask(method, target, body, fields, check=False)
        if reply.status >= 400:
            raise Refused(reply.json)
        return reply

    def json(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return self.ask(method, path, body, **query).json

    def new_cache(self) -> str:
        self.caches += 1
        return f"c{self.caches}"

    def need(self, what: str, method: str, path: str, *names: str) -> None:
        """NoForm unless the document has the operation, with these parameters or fields."""
        operation = self.paths.get(path, {}).get(method)
        if operation is None:
            raise NoForm(f"{what}: there is no {method.upper()} {path}")
        known = {one["name"] for one in operation.get("parameters", [])}
        for media in operation.get("requestBody", {}).get("content", {}).values():
            reference = media.get("schema", {}).get("$ref", "")
            schema = self.schemas.get(reference.rsplit("/", 1)[-1], {})
            known |= set(schema.get("properties", {}))
        for name in names:
            if name not in known:
                raise NoForm(f"{what}: {method.upper()} {path} has no {name}")


def in_words(pointer: str) -> str:
    """/positions/0 -> positions[0], as the library writes places."""
    return re.sub(r"/(\d+)", r"[\1]", pointer).lstrip("/").replace("/", ".")


def text_of(error: Refused) -> str:
    """The detail, and the places it speaks of as the library would write them."""
    places = [one["pointer"] for one in error.document.get("errors", [])]
    return " ".join([str(error), *places, *map(in_words, places), json.dumps(error.document)])
