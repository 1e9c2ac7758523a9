# SPDX-License-Identifier: Apache-2.0
"""Rust: structs, an enum of problem types, one method per plain operation, and a dispatcher for the scenario."""

from __future__ import annotations

from .model import PROBLEM, Api, Operation, Struct, Type, pascal

HEAD = "// SPDX-License-Identifier: Apache-2.0\n//! {} Written by clients/generate.py; do not edit.\n"
NAMES = {"string": "String", "enum": "String", "integer": "i64", "number": "f64", "boolean": "bool", "any": "Json",
         "object": "Json", "text_or_object": "Json"}  # fmt: skip
KEYWORDS = {"type", "match", "move", "ref", "self", "use", "where", "in", "loop", "box", "final", "auto_"}


def type_text(type_: Type) -> str:
    if type_.kind == "struct":
        text = type_.name
    elif type_.kind in ("array", "map"):
        assert type_.item is not None
        inner = type_text(type_.item)
        text = f"Vec<{inner}>" if type_.kind == "array" else f"BTreeMap<String, {inner}>"
    else:
        text = NAMES[type_.kind]
    return f"Option<{text}>" if type_.nullable else text


def ident(name: str) -> str:
    return "r#" + name if name in KEYWORDS else name


def struct_text(struct: Struct) -> str:
    text = f"\n    /// {struct.text or 'A schema of /openapi.json'}.\n    pub struct {struct.name} {{\n"
    for field in struct.fields:
        if field.text:
            text += f"        /// {field.text}.\n"
        text += f"        {ident(field.name)} {':' if field.required else '?'} {type_text(field.type)},\n"
    return text + "    }\n"


def schemas(api: Api) -> str:
    body = "".join(struct_text(struct) for struct in api.structs)
    text = HEAD.format("What requests and replies hold: the schemas of /openapi.json.")
    if "BTreeMap" in body:
        text += "use std::collections::BTreeMap;\n\n"
    text += "use crate::data::data;\nuse crate::json::Json;\n\ndata! {"
    return text + "\n" + body.replace("\n", "", 1) + "}\n"


def problems(api: Api) -> str:
    text = HEAD.format("The closed list of problem types of mustafard.")
    text += "\n/// What stands behind `urn:mustafar:problem:`.\n"
    text += "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]\n#[non_exhaustive]\npub enum ProblemType {\n"
    text += "".join(f"    {pascal(slug)},\n" for slug in api.problems)
    text += "    /// One that a newer server has.\n    Unknown,\n}\n"
    text += "\nimpl ProblemType {\n    pub const ALL: &'static [(&'static str, ProblemType)] = &[\n"
    text += "".join(f'        ("{slug}", ProblemType::{pascal(slug)}),\n' for slug in api.problems)
    text += "    ];\n}\n"
    return text + f'\npub(crate) const PREFIX: &str = "{PROBLEM}";\n'


def borrowed(type_: Type) -> str:
    if type_.kind in ("string", "enum"):
        return "&str"
    return type_text(type_) if type_.kind in ("integer", "number", "boolean") else "&" + type_text(type_)


def query_text(one: Operation) -> str:
    text = f"\n/// Parameters of [`Client::{one.name}`]; `None` leaves one out.\n"
    text += f"#[derive(Debug, Clone, Default)]\npub struct {pascal(one.name)}Query {{\n"
    for field in one.query:
        if field.text:
            text += f"    /// {field.text}.\n"
        inner = type_text(field.type)
        text += f"    pub {ident(field.name)}: {inner if field.required else f'Option<{inner}>'},\n"
    return text + "}\n"


def method_text(one: Operation) -> str:
    path = one.path
    arguments = ["&self"]
    segments = []
    for place in one.places:
        arguments.append(f"{ident(place.name)}: {borrowed(place.type)}")
        path = path.replace("{" + place.name + "}", "{}")
        segments.append(f"segment({ident(place.name)})")
    path = f'format!("{path}", {", ".join(segments)})' if segments else f'"{path}"'
    call = f'Call::new("{one.method}", {path})'
    if one.body is not None:
        arguments.append(f"body: &{type_text(one.body)}")
        call += ".json(body)"
    elif one.empty_body:
        call += ".json(&Json::Object(Vec::new()))"
    if one.query:
        arguments.append(f"query: &{pascal(one.name)}Query")
        call += "".join(f'.query("{field.name}", &query.{ident(field.name)})' for field in one.query)
    if one.safe:
        call += ".safe()"
    if one.answer is None:
        answer, ask = "()", "self.nothing"
    elif one.answer.kind == "string":
        answer, ask = "String", "self.text"
    else:
        answer, ask = type_text(one.answer), "self.data"
    text = f"\n    /// {one.text}: `{one.method} {one.path}`.\n"
    text += f"    pub fn {one.name}({', '.join(arguments)}) -> Result<{answer}> {{\n"
    return text + f"        {ask}({call})\n    }}\n"


def operations(api: Api) -> str:
    plain = [one for one in api.operations if one.plain]
    text = HEAD.format("A method per operation of /openapi.json that is JSON in, JSON out.")
    text += "use crate::call::{segment, Call};\nuse crate::client::Client;\nuse crate::error::Result;\n"
    text += "use crate::json::Json;\nuse crate::schemas::*;\n"
    text += "".join(query_text(one) for one in plain if one.query)
    methods = "".join(method_text(one) for one in plain)
    return text + "\nimpl Client {\n" + methods.replace("\n", "", 1) + "}\n"


def dispatch(api: Api) -> str:
    """Rust cannot find a method by its name when it runs: a table for the runner of the scenario."""
    text = HEAD.format("Calls a plain operation by its name, through its types.").replace("//!", "//")
    text += "use mustafar_client::{data::Data, json::Json, *};\n\nuse crate::arguments::Arguments;\n\n"
    text += "pub fn dispatch(client: &Client, name: &str, step: &Arguments) -> Option<Result<Json>> {\n"
    text += "    Some(match name {\n"
    for one in api.operations:
        if not one.plain:
            continue
        given = [
            f"step.number({at})" if place.type.kind == "integer" else f"step.place({at})"
            for at, place in enumerate(one.places)
        ]
        if one.body is not None:
            given.append("&step.body()")
        if one.query:
            fields = ", ".join(
                f'{ident(f.name)}: step.query("{f.name}")' + ('.expect("a parameter")' if f.required else "")
                for f in one.query
            )
            given.append(f"&{pascal(one.name)}Query {{ {fields} }}")
        text += f'        "{one.name}" => client.{one.name}({", ".join(given)}).map(|it| it.to_json()),\n'
    return text + "        _ => return None,\n    })\n}\n"


def files(api: Api) -> dict[str, str]:
    return {
        "rust/src/schemas.rs": schemas(api),
        "rust/src/problems.rs": problems(api),
        "rust/src/operations.rs": operations(api),
        "rust/src/bin/scenario/dispatch.rs": dispatch(api),
    }
