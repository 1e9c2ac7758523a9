# SPDX-License-Identifier: Apache-2.0
"""TypeScript: interfaces, one class per problem type, one method per plain operation."""

from __future__ import annotations

import re

from .model import Api, Operation, Struct, Type, pascal

HEAD = "// SPDX-License-Identifier: Apache-2.0\n// {} Written by clients/generate.py; do not edit.\n"
NAMES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "any": "unknown",
         "object": "Record<string, unknown>", "text_or_object": "string | Record<string, unknown>"}  # fmt: skip


def camel(name: str) -> str:
    text = pascal(name)
    return text[:1].lower() + text[1:]


def type_text(type_: Type) -> str:
    if type_.kind == "struct":
        text = type_.name
    elif type_.kind == "enum":
        text = " | ".join(f'"{value}"' for value in type_.values)
    elif type_.kind in ("array", "map"):
        assert type_.item is not None
        inner = type_text(type_.item)
        text = f"Array<{inner}>" if type_.kind == "array" else f"Record<string, {inner}>"
    else:
        text = NAMES[type_.kind]
    return text + (" | null" if type_.nullable else "")


def struct_text(struct: Struct) -> str:
    text = f"\n/** {struct.text} */" if struct.text else ""
    text += f"\nexport interface {struct.name} {{\n"
    for field in struct.fields:
        comment = f" // {field.text}" if field.text else ""
        text += f"  {field.name}{'' if field.required else '?'}: {type_text(field.type)};{comment}\n"
    return text + "}\n"


def schemas(api: Api) -> str:
    text = HEAD.format("What requests and replies hold: the schemas of /openapi.json.")
    return text + "".join(struct_text(struct) for struct in api.structs)


def problems(api: Api) -> str:
    text = HEAD.format("One class per problem type of mustafard.")
    text += '\nimport { ProblemError } from "./errors.js";\n'
    for slug in api.problems:
        text += f"\nexport class {pascal(slug)} extends ProblemError {{}}\n"
    text += "\nexport const problems: Record<string, typeof ProblemError> = {\n"
    return text + "".join(f'  "{slug}": {pascal(slug)},\n' for slug in api.problems) + "};\n"


def method_text(one: Operation) -> str:
    name = camel(one.name)
    path = one.path
    arguments = []
    for place in one.places:
        arguments.append(f"{camel(place.name)}: {type_text(place.type)}")
        path = path.replace("{" + place.name + "}", "${segment(" + camel(place.name) + ")}")
    quoted = f"`{path}`" if one.places else f'"{path}"'
    fields = []
    if one.body is not None:
        arguments.append(f"body: {type_text(one.body)}")
        fields.append("body")
    elif one.empty_body:
        fields.append("body: {}")
    if one.query:
        default = "" if any(field.required for field in one.query) else " = {}"
        arguments.append(f"query: {pascal(one.name)}Query{default}")
        fields.append("query: { ...query }")
    if one.safe:
        fields.append("safe: true")
    arguments.append("options?: CallOptions")
    fields.append("...options")
    answer = "void" if one.answer is None else type_text(one.answer)
    kind = "nothing" if one.answer is None else "text" if one.answer.kind == "string" else "json"
    call = f'this.{kind}("{one.method}", {quoted}, {{ {", ".join(fields)} }})'
    text = f"\n  /** {one.text}: {one.method} {one.path}. */\n"
    return text + f"  {name}({', '.join(arguments)}): Promise<{answer}> {{\n    return {call};\n  }}\n"


def query_text(one: Operation) -> str:
    fields = []
    for field in one.query:
        comment = f" // {field.text}" if field.text else ""
        fields.append(f"  {field.name}{'' if field.required else '?'}: {type_text(field.type)};{comment}\n")
    return f"\nexport interface {pascal(one.name)}Query {{\n{''.join(fields)}}}\n"


def operations(api: Api) -> str:
    plain = [one for one in api.operations if one.plain]
    text = HEAD.format("A method per operation of /openapi.json that is JSON in, JSON out.")
    body = "".join(query_text(one) for one in plain if one.query)
    body += "\nexport abstract class Operations extends Transport {"
    body += "".join(method_text(one) for one in plain).replace("\n\n", "\n", 1) + "}\n"
    used = sorted(s.name for s in api.structs if re.search(rf"\b{s.name}\b", body))
    text += "\nimport type {\n" + "".join(f"  {name},\n" for name in used) + '} from "./schemas.js";\n'
    text += 'import { type CallOptions, segment, Transport } from "./transport.js";\n'
    return text + body


def files(api: Api) -> dict[str, str]:
    return {
        "typescript/src/schemas.ts": schemas(api),
        "typescript/src/problems.ts": problems(api),
        "typescript/src/operations.ts": operations(api),
    }
