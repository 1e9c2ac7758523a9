# SPDX-License-Identifier: Apache-2.0
"""What /openapi.json says, as types and operations; the writers beside this file turn it into four languages.

Only the part of JSON Schema that mustafard uses is understood; anything else ends with the place and what to do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBLEM = "urn:mustafar:problem:"
SCALARS = {"string", "integer", "number", "boolean"}
JSON = "application/json"
RENAMED = {"result": "experiment-result"}  # a Result is something else in Rust
BY_HAND = {"post_jobs"}  # sends an Idempotency-Key, so that it may be repeated


@dataclass(frozen=True)
class Type:
    """kind: one of SCALARS, enum, array, map, struct, object (any JSON object), any, text_or_object."""

    kind: str
    name: str = ""  # of a struct
    item: Type | None = None  # of an array or map
    values: tuple[str, ...] = ()  # of an enum
    nullable: bool = False


@dataclass(frozen=True)
class Field:
    name: str
    type: Type
    required: bool
    text: str = ""


@dataclass(frozen=True)
class Struct:
    name: str
    text: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Operation:
    """One method and path. `plain` ones are JSON in, JSON or text out: those are generated."""

    name: str
    method: str
    path: str
    text: str
    places: tuple[Field, ...]  # in the path
    query: tuple[Field, ...]
    body: Type | None
    empty_body: bool
    answer: Type | None
    safe: bool  # may be repeated when its reply was lost
    plain: bool


@dataclass(frozen=True)
class Api:
    problems: tuple[str, ...]  # what stands behind PROBLEM
    structs: tuple[Struct, ...]
    operations: tuple[Operation, ...]


def pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_]", name))


def singular(name: str) -> str:
    return name[:-1] if name.endswith("s") else name


class Reader:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.schemas = document["components"]["schemas"]
        self.structs: dict[str, Struct] = {}

    def type_of(self, schema: dict[str, Any], name: str) -> Type:
        """`name` becomes that of a struct which has no name of its own."""
        if "$ref" in schema:
            target = schema["$ref"].rsplit("/", 1)[1]
            return self.type_of(self.schemas[target], pascal(RENAMED.get(target, target)))
        # Beside properties they only say which of those go together.
        if ("oneOf" in schema or "anyOf" in schema) and "properties" not in schema:
            return self.choice(schema.get("oneOf") or schema["anyOf"], name)
        if isinstance(schema.get("const"), (bool, int)):
            return Type("boolean" if isinstance(schema["const"], bool) else "integer")
        if "enum" in schema or "const" in schema:
            values = schema.get("enum", [schema.get("const")])
            return Type("enum", values=tuple(v for v in values if v is not None), nullable=None in values)
        kind = schema.get("type")
        if isinstance(kind, list):
            (only,) = [one for one in kind if one != "null"]
            inner = self.type_of({**schema, "type": only}, name)
            return Type(inner.kind, inner.name, inner.item, inner.values, nullable=True)
        if kind in SCALARS:
            return Type(kind)
        if kind == "array":
            return Type("array", item=self.type_of(schema.get("items", {}), singular(name)))
        if kind == "object":
            return self.object_of(schema, name)
        if kind is None and not (set(schema) - {"description"}):
            return Type("any")
        raise SystemExit(f"{name}: the generator does not know {json.dumps(schema)}: generator/model.py")

    def choice(self, schemas: list[dict[str, Any]], name: str) -> Type:
        others = [one for one in schemas if one.get("type") != "null"]
        if {one.get("type") for one in others} == {"string", "object"}:
            return Type("text_or_object")
        if len(others) == 1:
            inner = self.type_of(others[0], name)
            return Type(inner.kind, inner.name, inner.item, inner.values, nullable=True)
        return Type("any")

    def object_of(self, schema: dict[str, Any], name: str) -> Type:
        properties = schema.get("properties")
        if not properties:
            more = schema.get("additionalProperties")
            if isinstance(more, dict):
                return Type("map", item=self.type_of(more, singular(name)))
            return Type("object")
        required = set(schema.get("required", []))
        if name not in self.structs:
            self.structs[name] = Struct(name, "", ())  # it may refer to itself
            fields = tuple(
                Field(key, self.type_of(one, name + pascal(key)), key in required, one.get("description", ""))
                for key, one in properties.items()
            )
            # What is always there without a schema of its own.
            more = tuple(Field(key, Type("any"), True) for key in schema.get("required", []) if key not in properties)
            self.structs[name] = Struct(name, schema.get("description", ""), fields + more)
        return Type("struct", name)

    def operation(self, path: str, method: str, one: dict[str, Any]) -> Operation:
        name = one["operationId"]
        places: list[Field] = []
        query: list[Field] = []
        for parameter in one.get("parameters", []):
            # Layers are numbers, although the path takes any id.
            number = parameter["name"] == "layer"
            type_ = Type("integer") if number else self.type_of(parameter["schema"], "")
            field = Field(parameter["name"], type_, parameter.get("required", False), parameter.get("description", ""))
            (places if parameter["in"] == "path" else query).append(field)
        content = one.get("requestBody", {}).get("content", {})
        schema = content.get(JSON, {}).get("schema", {})
        empty = schema.get("$ref", "").endswith("/empty-object")
        body = self.type_of(schema, pascal(name) + "Request") if schema and not empty else None
        answers = [reply.get("content", {}) for status, reply in one["responses"].items() if status[0] == "2"]
        medias = {media for reply in answers for media in reply}
        answer = None
        if JSON in medias:
            schema = next(reply[JSON]["schema"] for reply in answers if JSON in reply)
            answer = self.type_of(schema, pascal(name) + "Answer")
        elif medias == {"text/plain"}:
            answer = Type("string")
        plain = set(content) <= {JSON} and medias <= {JSON, "text/plain", "text/csv", "application/octet-stream"}
        plain = plain and (answer is not None or not medias) and name not in BY_HAND
        safe = method in ("get", "put") or one.get("x-scope") == "read"
        return Operation(name, method.upper(), path, one.get("summary", ""), tuple(places), tuple(query), body,
                         empty, answer, safe, plain)  # fmt: skip

    def problems(self) -> tuple[str, ...]:
        types = self.schemas["problem"]["properties"]["type"]["enum"]
        return tuple(one.removeprefix(PROBLEM) for one in types)


def read_api(file: Path) -> Api:
    document: dict[str, Any] = json.loads(file.read_text())
    reader = Reader(document)
    operations = tuple(
        reader.operation(path, method, one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    )
    return Api(reader.problems(), tuple(reader.structs.values()), operations)
