# SPDX-License-Identifier: Apache-2.0
"""Python: TypedDicts, one exception per problem type, one method per plain operation."""

from __future__ import annotations

import keyword

from .model import Api, Field, Operation, Struct, Type, pascal

LINE = 120
HEAD = '# SPDX-License-Identifier: Apache-2.0\n"""{} Written by clients/generate.py; do not edit."""\n'
NAMES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "any": "Any",
         "object": "dict[str, Any]", "text_or_object": "str | dict[str, Any]"}  # fmt: skip


def type_text(type_: Type) -> str:
    if type_.kind == "struct":
        text = type_.name
    elif type_.kind == "enum":
        text = f"Literal[{', '.join(repr(value) for value in type_.values)}]".replace("'", '"')
    elif type_.kind in ("array", "map"):
        assert type_.item is not None
        inner = type_text(type_.item)
        text = f"list[{inner}]" if type_.kind == "array" else f"dict[str, {inner}]"
    else:
        text = NAMES[type_.kind]
    return text + (" | None" if type_.nullable else "")


def argument(name: str) -> str:
    return name + "_" if keyword.iskeyword(name) else name


def struct_text(struct: Struct) -> str:
    def member(field: Field) -> str:
        text = type_text(field.type)
        return text if field.required else f"NotRequired[{text}]"

    doc = f'    """{struct.text}"""\n\n' if struct.text else ""
    if any(keyword.iskeyword(field.name) for field in struct.fields):
        pairs = "".join(f'        "{field.name}": {member(field)},\n' for field in struct.fields)
        return f'{struct.name} = TypedDict(\n    "{struct.name}",\n    {{\n{pairs}    }},\n)\n'
    lines = "".join(f"    {field.name}: {member(field)}\n" for field in struct.fields)
    return f"class {struct.name}(TypedDict):\n{doc}{lines}"


def schemas(api: Api) -> str:
    text = HEAD.format("What requests and replies hold: the schemas of /openapi.json.")
    text += "\nfrom __future__ import annotations\n\n"
    text += "from typing import Any, Literal, NotRequired, TypedDict\n"
    return text + "".join("\n\n" + struct_text(struct) for struct in api.structs)


def problems(api: Api) -> str:
    text = HEAD.format("One exception per problem type of mustafard.")
    text += "\nfrom __future__ import annotations\n\nfrom .errors import ProblemError\n"
    for slug in api.problems:
        text += f'\n\nclass {pascal(slug)}(ProblemError):\n    """urn:mustafar:problem:{slug}"""\n'
    text += "\n\nPROBLEMS: dict[str, type[ProblemError]] = {\n"
    return text + "".join(f'    "{slug}": {pascal(slug)},\n' for slug in api.problems) + "}\n"


def method_text(one: Operation) -> str:
    path = one.path
    arguments = ["self"]
    for place in one.places:
        arguments.append(f"{argument(place.name)}: {type_text(place.type)}")
        path = path.replace("{" + place.name + "}", "{segment(" + argument(place.name) + ")}")
    if one.body is not None:
        arguments.append(f"body: {type_text(one.body)}")
    if one.query:
        arguments.append("*")
        for field in one.query:
            default = "" if field.required else " | None = None"
            arguments.append(f"{argument(field.name)}: {type_text(field.type)}{default}")
    answer = "None" if one.answer is None else type_text(one.answer)
    prefix = "f" if one.places else ""
    call = [f'"{one.method}"', f'{prefix}"{path}"']
    if one.query:
        pairs = [f'"{field.name}": {argument(field.name)}' for field in one.query]
        call.append(wrapped("            query={", pairs, "}").lstrip())
    if one.body is not None or one.empty_body:
        call.append(f"body={'body' if one.body is not None else '{}'}")
    if one.safe:
        call.append("safe=True")
    if one.answer is None:
        last = wrapped("        self._json(", call, ")")
    elif one.answer.kind == "string":
        last = f"        return self._text({', '.join(call)})"
    else:
        ask = wrapped("        answer = self._json(", call, ")")
        last = f'{ask}\n        return cast("{answer}", answer)'
    details = "".join(f"\n        {argument(f.name)}: {f.text}" for f in one.query if f.text)
    doc = f"{one.text}: {one.method} {one.path}." + (f"\n{details}\n        " if details else "")
    head = wrapped(f"    def {one.name}(", arguments, f") -> {answer}:")
    return f'{head}\n        """{doc}"""\n{last}\n'


def wrapped(head: str, parts: list[str], tail: str) -> str:
    """On one line, or where that is too long on one for each part."""
    line = head + ", ".join(parts) + tail
    indent = " " * (len(head) - len(head.lstrip()))
    if len(line) <= LINE:
        return line
    return head + "".join(f"\n{indent}    {part}," for part in parts) + f"\n{indent}" + tail


def operations(api: Api) -> str:
    plain = [one for one in api.operations if one.plain]
    used = sorted({s.name for s in api.structs if any(_uses(one, s.name) for one in plain)})
    text = HEAD.format("A method per operation of /openapi.json that is JSON in, JSON out.")
    methods = "".join("\n" + method_text(one) for one in plain)
    typing = ", ".join(name for name in ("Any", "Literal", "cast") if name + "[" in methods or name != "Literal")
    text += f"\nfrom __future__ import annotations\n\nfrom typing import {typing}\n\n"
    text += "from ._schemas import (\n" + "".join(f"    {name},\n" for name in used) + ")\n"
    text += "from .transport import Transport, segment\n\n\nclass Operations(Transport):\n"
    text += '    """Part of Client."""\n'
    return text + methods


def _uses(one: Operation, name: str) -> bool:
    return any(type_ is not None and type_.name == name for type_ in (one.body, one.answer))


def files(api: Api) -> dict[str, str]:
    folder = "python/mustafar_client/"
    return {
        folder + "_schemas.py": schemas(api),
        folder + "_problems.py": problems(api),
        folder + "_operations.py": operations(api),
    }
